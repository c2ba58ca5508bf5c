"""The user's replacements: whole words, in the case of what was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.text.replacements import Replacements
from flowpi.core.text.words import keys

TABLE = Replacements(
    {
        "GitHub": ["git hub", "get hub"],
        "kilowatt": ["kilo what"],
        "New York": ["york"],
        "C++": ["c plus plus"],
        "can": ["ken"],
        "Zoë": ["zoe"],
        "Git": ["git"],
    }
)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("I use git hub.", "I use GitHub."),
        ("Get  hub, GIT HUB!", "GitHub, GitHub!"),
        ("a kilo what", "a kilowatt"),
        ("Kilo what. KILO WHAT", "Kilowatt. KILOWATT"),
        ("York and New York and york", "New York and New York and New York"),
        ("we write c plus plus.", "we write C++."),
        ("ken can't, Ken's can", "can can't, Can's can"),
        ("zoe's, l'zoe", "Zoë's, l'Zoë"),
        ("zoe\u0301 and zoe-ann and my-zoe", "zoe\u0301 and zoe-ann and my-zoe"),
        ("kilo, what", "kilo, what"),
        ("kilo\nwhat", "kilo\nwhat"),
        ("git", "Git"),
        ("yorkshire", "yorkshire"),
        ("", ""),
    ],
)
def test_whole_words_in_the_case_of_the_speech(text: str, edited: str) -> None:
    assert TABLE.applied(text) == edited
    assert TABLE.applied(edited) == edited


def test_an_empty_table_changes_nothing() -> None:
    assert Replacements({}).applied("git hub") == "git hub"


OWN = st.text(alphabet="abcdeé", min_size=2, max_size=4)
OTHERS = st.text(alphabet="xyzü'\u2019-\u0301\u200c .,\n\U0001f600", max_size=12)


@given(st.dictionaries(st.text(alphabet="ABCDE +", min_size=1, max_size=6), st.lists(OWN, min_size=1)), st.text())
def test_any_text_and_any_table(table: dict[str, list[str]], text: str) -> None:
    Replacements(table).applied(text)


@given(st.lists(OWN, min_size=1, unique=True), st.lists(st.one_of(OWN, OTHERS)), st.text(alphabet="QR", min_size=1))
def test_only_whole_words_are_replaced(spoken: list[str], pieces: list[str], written: str) -> None:
    """What is no spoken form stays to the letter, and nothing is left to replace."""
    table, text = Replacements({written: spoken}), " ".join(pieces)
    edited = table.applied(text)
    assert table.applied(edited) == edited
    named = {key for form in spoken for key in keys(form)}
    expected = [written.casefold() if key in named else key for key in keys(text)]
    assert list(keys(edited)) == expected
