"""Filler words and repeated starts: what people say while they think, and do not want to read."""

import re
from typing import NamedTuple

from flowpi.core.text.language import Language
from flowpi.core.text.words import capitalised, words

LONGEST = 3
"""The most words of a start that is found when it is repeated."""

PAUSE = re.compile(r"(?:,|\.\.\.|\u2026| [-\u2013]|\u2014)?[ \t]+")
"""What stands between a start and its repetition."""

BEHIND = re.compile(r"(?:\.\.\.|[,;:\u2026\u2013\u2014]| [-\u2013](?= ))?[ \t]*")
"""What goes with a filler that stands behind it."""

MARKS = re.compile(r"[.!?]+[ \t]*")

BEGINNINGS = (".", "!", "?", "\u2026", "\n")
"""What a sentence begins behind."""


class Piece(NamedTuple):
    """A word, with what stands before it. `key` is that of `words.key`."""

    gap: str
    written: str
    key: str


def without_fillers(text: str, language: Language) -> str:
    """Return the text without the fillers of a language, with the commas around them, and with each start once."""
    return _without_repeats(_without_sounds(text, language), language)


def _without_sounds(text: str, language: Language) -> str:
    kept, at = "", 0
    for word in words(text):
        written = text[word.start : word.end]
        # UM is a university and no hesitation.
        if word.key not in language.fillers or (len(written) > 1 and written.isupper()):
            continue
        kept += text[at : word.start]
        at = _after(BEHIND, text, word.end)
        paused = bool(text[word.end : at].strip())
        before = kept.rstrip(" \t")
        if not before or before.endswith(BEGINNINGS):
            if _ends(text, at):  # there was nothing else in the sentence: its mark goes, too
                at = _after(MARKS, text, at)
            elif written[:1].isupper():
                text = text[:at] + capitalised(text[at:])
        elif paused or _ends(text, at):
            kept = before.removesuffix(",") + " "
        if _ends(text, at):
            kept = kept.rstrip(" \t")
    return kept + text[at:]


def _ends(text: str, at: int) -> bool:
    """Return whether a sentence or a line ends there."""
    return at == len(text) or text[at] in ".!?\n"


def _without_repeats(text: str, language: Language) -> str:
    pieces, at = list[Piece](), 0
    for word in words(text):
        pieces.append(Piece(text[at : word.start], text[word.start : word.end], word.key))
        at = word.end
    rest, at = text[at:], 0
    while at < len(pieces):
        if length := _repeated(pieces[at : at + 2 * LONGEST], language):
            del pieces[at + length : at + 2 * length]  # the first one stays, with its capital letter
        else:
            at += 1
    return "".join([*(part for piece in pieces for part in piece[:2]), rest])


def _repeated(pieces: list[Piece], language: Language) -> int:
    """Return the length of the start that these words begin with twice, or 0."""
    for length in range(min(LONGEST, len(pieces) // 2), 0, -1):
        first, again = pieces[:length], pieces[length : 2 * length]
        if [piece.key for piece in first] != [piece.key for piece in again]:
            continue
        if first[0].key not in (language.stutters if length == 1 else language.starts):
            continue
        inner = (*first[1:], *again[1:])
        if PAUSE.fullmatch(again[0].gap) and all(not piece.gap.strip(" \t") for piece in inner):
            return length
    return 0


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at
