"""Filler words and repeated starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.text.fillers import without_fillers
from flowpi.core.text.words import keys
from flowpi.editing.tables import languages


@pytest.mark.parametrize(
    ("language", "text", "edited"),
    [
        ("en", "Um, I think, uh, we go, um.", "I think we go."),
        ("en", "um the cat. Uh... the dog.", "the cat. The dog."),
        ("en", "Um. Uh, I see. Hm.", "I see."),
        ("en", "He is at UM, the umbrella, um-hum.", "He is at UM, the umbrella, um-hum."),
        ("en", "I I think that we we, we should go.", "I think that we should go."),
        ("en", "I want, I want to to go. The the the cat", "I want to go. The cat"),
        ("en", "I... I see.", "I see."),
        ("en", "It was very very good, no no, and that that is had had.", None),
        ("en", "On and on and on. New York, New York. I. I mean it.", None),
        ("en", "um", ""),
        ("en", "A. um", "A."),
        ("en", "A - um - b. A  um. Then uh  the end", "A - b. A. Then the end"),
        ("en", "line\num\nline", "line\n\nline"),
        ("de", "Ähm, ich ich gehe um drei, äh, nach Haus.", "Ich gehe um drei nach Haus."),
        ("de", "Die, die da sind.", None),
        ("fr", "Euh, je je pense que nous nous voyons.", "Je pense que nous nous voyons."),
        ("fr", "C'est c'est bon", "C'est bon"),
        ("es", "Eh, yo yo creo que este, este sí.", "Yo creo que este, este sí."),
    ],
)
def test_what_goes_and_what_stays(language: str, text: str, edited: str | None) -> None:
    tables = languages()[language]
    expected = text if edited is None else edited
    assert without_fillers(text, tables) == expected
    assert without_fillers(expected, tables) == expected


PIECES = ["um", "Uh,", "uh.", "the", "The", "I", "cat", "UM", ",", "...", "\n", "é", "a", "and", "ß", "um-hum", "it's"]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5))))
def test_no_other_word_is_lost(pieces: list[str]) -> None:
    tables = languages()["en"]
    named = tables.fillers | tables.stutters | tables.starts
    text = " ".join(pieces)
    edited = without_fillers(text, tables)
    assert without_fillers(edited, tables) == edited
    said, kept = keys(text), keys(edited)
    assert [key for key in kept if key not in named] == [key for key in said if key not in named] or _has_phrase(said)


def _has_phrase(said: tuple[str, ...]) -> bool:
    """Return whether two or three words stand there twice in a row: the second ones may be any words."""
    return any(
        said[at : at + length] == said[at + length : at + 2 * length]
        for length in (2, 3)
        for at in range(len(said))
        if len(said) >= at + 2 * length
    )
