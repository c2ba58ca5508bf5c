"""Loops: a recogniser that writes the same tokens again and again, until its limit of tokens stops it."""

from collections.abc import Sequence
from typing import TypeVar

Token = TypeVar("Token")

LONGEST = 4
"""The most tokens that a loop repeats."""

TIMES = 3
"""How often they must come in a row. People do say a word three times, but hardly four words."""


def repeated(tokens: Sequence[int]) -> int:
    """Return how many tokens at the end only repeat those before them; 0 if `tokens` does not end in a loop.

    Of a shorter loop, more turns must have come: the last twelve tokens repeat themselves. Call it at each new token,
    as the search stops at the first loop.
    """
    last = tokens[-LONGEST * TIMES :]
    if len(last) < LONGEST * TIMES:
        return 0
    return next((len(last) - n for n in range(1, LONGEST + 1) if last[n:] == last[:-n]), 0)


def before_loop(tokens: list[Token]) -> list[Token]:
    """Return tokens without the turns of a loop at their end but its first, for a search that does not look earlier.

    A turn has at least `LONGEST` tokens, and there are at least `TIMES`.
    """
    for size in range(LONGEST, len(tokens) // TIMES + 1):
        if tokens[-size * TIMES : -size] == tokens[-size * (TIMES - 1) :]:
            while tokens[-size * 2 : -size] == tokens[-size:]:
                tokens = tokens[:-size]
            break
    return tokens
