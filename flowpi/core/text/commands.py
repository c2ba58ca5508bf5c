"""Spoken commands: "full stop", "new line", "scratch that" and the like.

A text does not say where the speaker paused. But a recogniser ends a sentence at a pause, or writes a comma if it is
short. So a command counts only where it is a sentence of its own, or stands before the first or behind the last comma
of one: "Dear Ann, comma." In the middle commas also separate what is counted up, so "a comma, period, and colon" stays,
and "The period of time." in any case.
"""

import re
from typing import Literal, NamedTuple

from flowpi.core.text.language import Language
from flowpi.core.text.sentences import sentences
from flowpi.core.text.words import capitalised, key

ENDS = ".,;:!?\u2026"
"""The marks that a recogniser puts at a pause, which a spoken one replaces."""

CLAUSE = re.compile(r"[^\s,](?:[^,]|,(?!\s))*")
"""What stands between two commas."""

BEFORE_MARK = ENDS + " \u00a0\u202f"
"""What a spoken mark replaces: the marks, and the spaces that French has before some."""

GOES_ON = (",", ";", ":")
"""The marks behind which a sentence goes on."""


class Piece(NamedTuple):
    """A piece of the edited text; `gap` is what stood behind a sentence."""

    kind: Literal["sentence", "mark", "break"]
    text: str
    gap: str = ""


class Commands:
    """The commands of one language."""

    def __init__(self, language: Language) -> None:
        self._language = language
        self._pieces = {form: Piece("mark", mark) for mark, forms in language.marks.items() for form in forms}
        self._pieces |= {form: Piece("break", "\n") for form in language.breaks.line}
        self._pieces |= {form: Piece("break", "\n\n") for form in language.breaks.paragraph}

    def applied(self, text: str) -> str:
        """Return the text with its commands carried out, or as it is if it has none."""
        pieces, found = list[Piece](), False
        for sentence in sentences(text, self._language.abbreviations):
            before, rest, behind = self._edges(sentence.text)
            found = found or bool(before or behind)
            for said in before:
                self._carry_out(said, pieces)
            if rest:
                pieces.append(Piece("sentence", rest, sentence.gap))
            for said in behind:
                self._carry_out(said, pieces)
        return self._joined(pieces) if found else text

    def _edges(self, sentence: str) -> tuple[list[str], str, list[str]]:
        """Return the commands at the beginning of a sentence, the rest of it, and the commands at its end."""
        clauses = list(CLAUSE.finditer(sentence))
        said = [_spoken(clause[0]) for clause in clauses]
        first, last = 0, len(said)
        while first < last and self._is_command(said[first]):
            first += 1
        while first < last and self._is_command(said[last - 1]):
            last -= 1
        if first == last:
            return said[:first], "", said[last:]
        rest = sentence[clauses[first].start() : clauses[last - 1].end() if last < len(said) else None]
        return said[:first], capitalised(rest) if first else rest, said[last:]

    def _is_command(self, said: str) -> bool:
        return said in self._pieces or said in self._language.scratch

    def _carry_out(self, said: str, pieces: list[Piece]) -> None:
        if said in self._pieces:
            pieces.append(self._pieces[said])
        else:
            _scratch(pieces)

    def _joined(self, pieces: list[Piece]) -> str:
        text, before = "", Piece("break", "")
        for piece in pieces:
            match piece.kind:
                case "sentence":
                    between = (before.gap or " ") if before.kind == "sentence" else " " if before.kind == "mark" else ""
                    goes_on = before.kind == "mark" and before.text.endswith(GOES_ON)
                    text += between + (self._within_sentence(piece.text) if goes_on else piece.text)
                case "mark":
                    text = (text.rstrip(BEFORE_MARK) if before.kind == "sentence" else text) + piece.text
                case "break":
                    text = text.rstrip(" ") + piece.text
            before = piece
        return text

    def _within_sentence(self, sentence: str) -> str:
        """Return a sentence that goes on with one before it: with a small letter, if its first word is a small one."""
        first = re.match(r"\w+", sentence)
        if first is None or first[0].lower() not in self._language.small or first[0][1:] != first[0][1:].lower():
            return sentence
        return sentence[:1].lower() + sentence[1:]


def _spoken(clause: str) -> str:
    """Return the words of a clause as the tables have them."""
    return " ".join(key(clause).strip(ENDS).split())


def _scratch(pieces: list[Piece]) -> None:
    """Drop the last sentence, and the commands behind it."""
    while pieces and pieces.pop().kind != "sentence":
        pass
