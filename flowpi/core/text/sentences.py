"""The sentences of a text, as a recogniser writes them: one for what stands between two pauses, mostly."""

import re
from collections.abc import Collection
from typing import NamedTuple

END = re.compile(r"[.!?\u2026]+[\"'\u2019\u201d\u00bb)\]]*(?=\s|$)|(?=\n)")
"""Where a sentence ends: behind its last mark, with the quotation mark or bracket there; and before a new line."""

LONGEST = 24
"""How many letters before a full stop are looked at for an abbreviation."""

BLANK = re.compile(r"\s*")


class Sentence(NamedTuple):
    """A sentence with its last mark, and the blanks behind it."""

    text: str
    gap: str


def sentences(text: str, abbreviations: Collection[str]) -> list[Sentence]:
    """Return the sentences of a text. Joined, with the gaps, they are the text behind its leading blanks.

    Args:
        abbreviations: words in lower case behind which a full stop ends no sentence. One letter never does.
    """
    found, start = list[Sentence](), _after_blanks(text, 0)
    for match in END.finditer(text):
        end = match.end()
        if end <= start or _is_short(text[max(start, end - LONGEST) : end], abbreviations):
            continue
        next_start = _after_blanks(text, end)
        found.append(Sentence(text[start:end], text[end:next_start]))
        start = next_start
    if start < len(text):
        found.append(Sentence(text[start:], ""))
    return found


def _after_blanks(text: str, at: int) -> int:
    match = BLANK.match(text, at)
    return match.end() if match else at


def _is_short(sentence: str, abbreviations: Collection[str]) -> bool:
    """Return whether what ends here is an abbreviation and no sentence."""
    if not sentence.endswith(".") or sentence.endswith(".."):
        return False
    last = re.split(r"[\s.(]", sentence[:-1])[-1]
    return (len(last) == 1 and last.isalpha() and last.lower() not in "ioay") or last.casefold() in abbreviations
