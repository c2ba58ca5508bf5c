"""The rules together, and the tables of the languages."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowpi.config.text import TextSettings
from flowpi.core.text.language import Language, language_of
from flowpi.core.text.replacements import Replacements
from flowpi.core.text.rules import Ending, Rules
from flowpi.core.text.words import key, keys
from flowpi.editing.tables import NAMES, languages, make_rules

ALL = make_rules(TextSettings(replacements={"GitHub": ("git hub",)}, commands=True, fillers=True, digits=True))


@pytest.mark.parametrize(
    ("text", "tag", "edited"),
    [
        ("Um, new line. Git hub has twenty five users.", "en", "\nGitHub has 25 users."),
        ("Äh, ich habe fünfundzwanzig Hunde. Komma. Und eine Katze.", "de-AT", "Ich habe 25 Hunde, und eine Katze."),
        ("Um, new line. Git hub.", "pl", "Um, new line. GitHub."),
        ("Um, hello.", None, "Hello."),
        ("A. Comma. A cat.", "en", "A cat."),
        ("One of us came, and no one left.", "en_US", "One of us came, and no one left."),
    ],
)
def test_all_rules_in_a_text_of_a_language(text: str, tag: str | None, edited: str) -> None:
    assert ALL.applied(text, tag) == edited


def test_a_replacement_has_the_last_word() -> None:
    rules = make_rules(TextSettings(replacements={"Twenty Five Club": ("25 club",)}, digits=True))
    assert rules.applied("the twenty five club", "en") == "the Twenty Five Club"


@pytest.mark.parametrize(
    ("ending", "text", "ended"),
    [
        ("none", "Yes. ", "Yes. "),
        ("space", "Yes.", "Yes. "),
        ("space", "Yes.  ", "Yes.  "),
        ("space", "Yes.\n", "Yes.\n"),
        ("newline", "Yes. ", "Yes.\n"),
        ("newline", "Yes.\n\n", "Yes.\n\n"),
        ("space", "", ""),
    ],
)
def test_what_stands_behind_a_text(ending: Ending, text: str, ended: str) -> None:
    rules = Rules(ending=ending)
    assert rules.ended(text) == ended
    assert rules.ended(ended) == ended


@given(st.text(), st.sampled_from([None, *NAMES, "pl"]))
def test_without_rules_nothing_changes(text: str, tag: str | None) -> None:
    rules = make_rules(TextSettings())
    assert rules.ended(rules.applied(text, tag)) == text


@settings(max_examples=200)
@given(st.text(), st.sampled_from(NAMES))
def test_any_unicode_twice_is_as_once(text: str, tag: str) -> None:
    rules = make_rules(TextSettings(commands=True, fillers=True))
    edited = rules.applied(text, tag)
    assert rules.applied(edited, tag) == edited


PIECES = ["um", "Uh,", "Comma.", "New line.", "Scratch that.", "the", "The", "I", "cat.", "a,", "And", "Dr.", "colon,"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES)))
def test_all_the_rules_of_a_language_twice_are_as_once(pieces: list[str]) -> None:
    rules = make_rules(TextSettings(commands=True, fillers=True))
    edited = rules.applied(" ".join(pieces), "en")
    assert rules.applied(edited, "en") == edited


@settings(max_examples=200)
@given(st.lists(st.text(alphabet="xyzwvXÜñ\u0301'-.,!?\n \U0001f600", min_size=1)))
def test_no_letter_is_lost_that_no_rule_names(pieces: list[str]) -> None:
    text = " ".join(pieces)
    named = {word for tables in languages().values() for word in _named(tables)}
    if not named & set(keys(text)):
        for tag in NAMES:
            assert ALL.applied(text, tag) == text


def _named(tables: Language) -> set[str]:
    forms = [*tables.scratch, *tables.breaks.line, *tables.breaks.paragraph]
    forms += [form for spoken in tables.marks.values() for form in spoken]
    return {*tables.fillers, *tables.stutters, *tables.starts, *(word for form in forms for word in keys(form))}


@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_written_as_texts_are_compared(name: str) -> None:
    """All words are in lower case, no spoken command means two things, and none is a filler."""
    tables = languages()[name]
    forms = [*tables.scratch, *tables.breaks.line, *tables.breaks.paragraph]
    forms += [form for spoken in tables.marks.values() for form in spoken]
    assert len(forms) == len(set(forms))
    lists = (
        forms,
        tables.small,
        tables.fillers,
        tables.stutters,
        tables.starts,
        tables.abbreviations,
        tables.negations,
    )
    for word in (*(word for words in lists for word in words), *tables.refusals):
        assert word == key(word)
    assert not tables.fillers & (tables.small | tables.stutters)


@pytest.mark.parametrize(
    ("tag", "name"), [("en", "en"), ("en-US", "en"), ("DE_at", "de"), (None, "en"), ("", "en"), ("nl", None)]
)
def test_the_language_of_a_text(tag: str | None, name: str | None) -> None:
    assert language_of(tag, NAMES) == name


@pytest.mark.parametrize("piece", ["um ", "the ", "Dr. ", "Comma. ", "git hub ", "a, um, ", "A, comma. ", "x, "])
def test_four_times_the_text_takes_four_times_the_work(piece: str) -> None:
    """Not sixteen times, as it would if a rule began anew for each word: then no try of these would do."""
    tries = ((_cpu_s(piece * 2_000), _cpu_s(piece * 8_000)) for _ in range(9))
    assert any(long < 9 * short for short, long in tries)


def _cpu_s(text: str) -> float:
    began = time.process_time()
    ALL.applied(text, "en")
    return time.process_time() - began


def test_replacements_of_an_appliance_and_of_the_rules_are_the_same() -> None:
    assert ALL.replacements.applied("git hub") == Replacements({"GitHub": ["git hub"]}).applied("git hub")
