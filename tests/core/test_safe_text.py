import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowpi.core.safe_text import escaped, printable
from tests.terminal import acting


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


@given(more=st.text())
@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\nb", "a\u2028b", "a\u202eb", "a\x9b31mb", "a\u2066b", "a\ud800b"])
def test_printable_is_a_line_that_does_nothing(text: str, more: str) -> None:
    assert printable(text)[0] + printable(text)[-1] == "ab"
    assert not acting(printable(text + more))


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
        "\u0d9a\u0dca\u200d\u0dbb\u0dd3",  # Sinhala, with a joiner
        "\u0915\u094d\u200d\u0937",  # Hindi, a half form
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family of three
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
        "Donau\u00addampf",
        "\u05d0\u200f!\u200e\u061c",  # marks of direction
        "Quoi\u202f? 5\u00a0%",
        "\u6771\u4eac\u3000\u99c5",
        "\U0001fae9",  # newer than some Pythons
    ],
)
def test_what_belongs_to_a_script_stays(text: str) -> None:
    assert printable(text) == text
