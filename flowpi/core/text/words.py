"""The words of a text, in any script that separates words.

A word is a run of letters, marks and digits. A hyphen or an apostrophe between two of them belongs to the word, so that
`can` is no word of "can't", nor `mail` of "e-mail". But the `'s` of a possessive and the article of "l'hôpital" are
words of their own.
"""

import re
import unicodedata
from typing import NamedTuple

INNER = "'\u2019-\u2010\u2011"
"""What joins two letters to one word: apostrophes and hyphens."""

LETTERS = re.compile(r"[^\W_]+")

ELISIONS = {"c", "d", "j", "jusqu", "l", "lorsqu", "m", "n", "puisqu", "qu", "quoiqu", "s", "t"}
"""The words that lose their vowel before another one, in French and its relatives."""

IS = {"he", "here", "how", "it", "let", "she", "that", "there", "what", "when", "where", "who", "why"}
"""The words whose `'s` stands for `is` or `us`: it belongs to them."""


class Word(NamedTuple):
    """A word of a text, from `start` to `end`; `key` is the same for all ways to write it."""

    start: int
    end: int
    key: str


def words(text: str) -> list[Word]:
    """Return the words of a text, in order."""
    found: list[Word] = []
    at = 0
    while match := LETTERS.search(text, at):
        start, at = match.span()
        while at < len(text) and (_is_mark(text[at]) or (text[at] in INNER and text[at + 1 : at + 2].isalnum())):
            run = LETTERS.match(text, at + 1)
            at = run.end() if run else at + 1
        found += _divided(text, start, at)
    return found


def keys(text: str) -> tuple[str, ...]:
    """Return the keys of the words of a text."""
    return tuple(word.key for word in words(text))


def key(word: str) -> str:
    """Return what is equal for a word in upper and lower case, composed or not, with a straight or curly apostrophe."""
    return unicodedata.normalize("NFC", word.replace("\u2019", "'").casefold())


def capitalised(text: str) -> str:
    """Return a text that begins with a capital letter, if its first one has a capital form that is one letter, too."""
    return text[:1].upper() + text[1:] if len(text[:1].upper()) == 1 else text


def _divided(text: str, start: int, end: int) -> list[Word]:
    """Return the word from `start` to `end`, without the words that an apostrophe binds to it."""
    whole = key(text[start:end])
    head, apostrophe, tail = whole.partition("'")
    middle = end
    if apostrophe and head in ELISIONS and len(tail) > 1:
        middle = start + text[start:end].replace("\u2019", "'").index("'") + 1
        return [Word(start, middle, head + "'"), *_divided(text, middle, end)]
    if whole.endswith("'s") and whole[:-2] not in IS:
        middle = end - 2
        return [Word(start, middle, key(text[start:middle])), Word(middle, end, "'s")]
    return [Word(start, end, whole)]


def _is_mark(character: str) -> bool:
    """Return whether a character belongs to the letter before it: accents, vowel signs, joiners, soft hyphens."""
    return character > "~" and unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf")
