"""Every promise has a test, and its measurements are in the document."""

import re
from pathlib import Path

from tests.reliability.__main__ import BEGIN, DOCUMENT, END
from tests.reliability.promises import PROMISES

TESTS = Path(__file__).parents[1]


def test_every_promise_has_a_test() -> None:
    marked: set[str] = set()
    for file in TESTS.rglob("test_*.py"):
        for numbers in re.findall(r"promise\(([^)]*)\)", file.read_text()):
            marked |= set(re.findall(r'"(P\d+)"', numbers))
    assert marked == set(PROMISES)


def test_every_promise_was_measured() -> None:
    table = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert set(re.findall(r"^\| (P\d+) \|", table, re.MULTILINE)) == set(PROMISES)
