"""Spoken commands, where they are a sentence of their own, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.text.commands import Commands
from flowpi.core.text.sentences import sentences
from flowpi.editing.tables import languages


@pytest.mark.parametrize(
    ("language", "text", "edited"),
    [
        ("en", "Dear Ann. Comma. New line. Thank you. Full stop.", "Dear Ann,\nThank you."),
        ("en", "How are you. Question mark. Fine", "How are you? Fine"),
        ("en", "He said. Colon. The door is open.", "He said: the door is open."),
        ("en", "He said. Comma. Anna is here.", "He said, Anna is here."),
        ("en", "One. New paragraph. Two.", "One.\n\nTwo."),
        ("en", "New line.", "\n"),
        ("en", "Comma", ","),
        ("en", "We meet at five. Scratch that. We meet at six.", "We meet at six."),
        ("en", "One. Two. Question mark. Scratch that. Three.", "One. Three."),
        ("en", "One. Two. Scratch that. Scratch that. Scratch that.", ""),
        ("en", "Wait. Full stop. Full stop. Full stop. Yes.", "Wait... Yes."),
        ("en", "Dear Ann, comma. Thank you, full stop. New line, bye, new line.", "Dear Ann, thank you.\nBye\n"),
        ("en", "Is it raining? Question mark, new paragraph, I hope not.", "Is it raining?\n\nI hope not."),
        ("en", "We meet at five, scratch that. At six, scratch that, no.", "At six, scratch that, no."),
        ("en", "A comma, period, and colon. 3,5 is a number, comma", "A comma, period, and colon. 3,5 is a number,"),
        ("en", "We saw a new line.", "We saw a new line."),
        ("en", "The period of time was long.", "The period of time was long."),
        ("en", "A new line of work, comma, you see.", "A new line of work, comma, you see."),
        ("en", "Scratch that itch.", "Scratch that itch."),
        ("en", "I saw Dr. Scratch that. He left.", "I saw Dr. Scratch that. He left."),
        ("en", "  No commands \n at all.  ", "  No commands \n at all.  "),
        ("de", "Hallo. Komma. Ich bin da. Fragezeichen.", "Hallo, ich bin da?"),
        ("de", "Eins. Neuer Absatz. Zwei. Streich das.", "Eins.\n\n"),
        ("de", "Der Punkt ist klein. Das ist der Punkt.", "Der Punkt ist klein. Das ist der Punkt."),
        ("fr", "Où es-tu ? Point d\u2019interrogation. À la ligne. Ici.", "Où es-tu\u202f?\nIci."),
        ("fr", "Le point de vue.", "Le point de vue."),
        ("es", "Hola. Coma. Ya estoy aquí. Punto y aparte. Adiós.", "Hola, ya estoy aquí.\n\nAdiós."),
        ("es", "Dos puntos de vista.", "Dos puntos de vista."),
    ],
)
def test_what_is_done(language: str, text: str, edited: str) -> None:
    commands = Commands(languages()[language])
    assert commands.applied(text) == edited
    assert commands.applied(edited) == edited


PARTS = [*"aB .,!?\n\u2026\u00e9\"')", "Dr. ", "\U0001f600"]


@given(st.lists(st.sampled_from(PARTS)))
def test_sentences_are_the_whole_text(parts: list[str]) -> None:
    text = "".join(parts)
    joined = "".join(part for sentence in sentences(text, {"dr"}) for part in sentence)
    assert joined == text.lstrip()


WORDS = [
    "Comma.",
    "Full stop.",
    "New line.",
    "Scratch that.",
    "the",
    "Period",
    "Dr.",
    "\n",
    "one,",
    "Two!",
    "z. ",
    "comma,",
    "",
    "new line,",
]


@given(st.lists(st.sampled_from(WORDS)))
def test_a_second_time_changes_nothing(pieces: list[str]) -> None:
    commands = Commands(languages()["en"])
    edited = commands.applied(" ".join(pieces))
    assert commands.applied(edited) == edited
