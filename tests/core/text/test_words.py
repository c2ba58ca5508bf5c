"""What is a word, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.text.words import keys, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, world.", ("hello", "world")),
        ("can't CAN\u2019T can", ("can't", "can't", "can")),
        ("John's it's", ("john", "'s", "it's")),
        ("l'hôpital d\u2019Anna o'clock", ("l'", "hôpital", "d'", "anna", "o'clock")),
        ("e-mail - x", ("e-mail", "x")),
        ("cafe\u0301 café", ("café", "café")),
        ("\u0645\u06cc\u200c\u062e", ("\u0645\u06cc\u200c\u062e",)),
        ("Straße STRASSE", ("strasse", "strasse")),
        ("'quoted' -x- 3.5 a_b", ("quoted", "x", "3", "5", "a", "b")),
        ("", ()),
    ],
)
def test_the_words_of_a_text(text: str, found: tuple[str, ...]) -> None:
    assert keys(text) == found


@given(st.text())
def test_words_stand_in_order_and_hold_every_letter(text: str) -> None:
    found = words(text)
    covered = [at for word in found for at in range(word.start, word.end)]
    assert covered == sorted(set(covered))
    assert not [at for at, letter in enumerate(text) if letter.isalnum() and at not in set(covered)]
