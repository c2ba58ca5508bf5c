"""The table of codes: the doctor uses each code and no other, and a test provokes each."""

import ast
import re
from pathlib import Path

import pytest

from flowpi.doctor import findings
from flowpi.doctor.findings import CODES, Finding
from tests.docs.documents import section

PACKAGE = Path(findings.__file__).parent
TESTS = Path(__file__).parent
MANUAL = section("docs/operations.md", "What the doctor finds")


def words(files: list[Path]) -> set[str]:
    """Return all strings in the code of these files, without docstrings."""
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_each_code_is_told() -> None:
    told = words([file for file in PACKAGE.glob("*.py") if file.name != "findings.py"]) | {"works", "skipped"}
    assert set(CODES) <= told


def test_each_code_is_provoked() -> None:
    tests = words([file for file in TESTS.glob("test_*.py") if file.name != "test_codes.py"])
    assert set(CODES) - tests == set()


def test_each_code_is_in_the_manual_and_no_other() -> None:
    table = [line for line in MANUAL.splitlines() if line.startswith("| ") and "`" in line]
    said = {word for line in table for word in re.findall(r"`([a-z_]+)`", line.split("|")[2])}
    assert said == set(CODES)


def test_another_code_cannot_be_told() -> None:
    with pytest.raises(KeyError):
        Finding("clock", "ok", "fine", "")


def test_what_is_wrong_has_a_hint_and_what_is_well_has_none() -> None:
    assert Finding("microphone", "failure", "broken", "cannot be read").hint
    assert Finding("microphone", "warning", "broken", "cannot be read", "plug it in").hint == "plug it in"
    assert Finding("microphone", "ok", "works", "works").hint == ""


def test_each_code_is_a_word_with_a_meaning() -> None:
    assert all(code.replace("_", "").isalpha() and code.islower() for code in CODES)
    assert all(len(meaning) > 10 for meaning in CODES.values())
