import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowpi.core.text import escaped, printable


@given(st.text())
@example("\x9b31m \x7f \u2028 \u202e \U000e0041 \U0010ffff é")
def test_escaped_json_means_the_same_and_is_one_line_that_does_nothing(text: str) -> None:
    for ascii_only in (True, False):
        line = escaped(json.dumps([text], ensure_ascii=ascii_only).encode())
        assert json.loads(line) == [text]
        assert line.decode().isprintable()


def test_letters_stay_as_they_are() -> None:
    encoded = '{"text":"Grüße, 東京 🎤"}'.encode()
    assert escaped(encoded) is encoded


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\u2028b", "a\u202eb"])
def test_printable_is_a_line(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text)[0] + printable(text)[-1] == "ab"
