"""The phrases that a recogniser listens for: names and words of the user, as the operator and clients write them.

They cost computing time, and clients are not trusted: so there are only so many of them, and none is long.
"""

from collections.abc import Iterable
from itertools import islice

MOST = 200

LONGEST = 64
"""In characters. Longer ones are passed over: the longest name of a place in Europe has 58."""

FEWEST_LETTERS = 3
"""Of letters and digits. What has fewer is passed over: two letters are found in any speech."""

_LOOKED_AT = 1000
"""How much of each list is looked at. A message may have 64 thousand entries."""


def usable(phrase: object) -> str | None:
    """Return a phrase with single spaces between its words, or None if it is none to listen for."""
    if not isinstance(phrase, str) or len(phrase) > LONGEST or sum(map(str.isalnum, phrase)) < FEWEST_LETTERS:
        return None
    return " ".join(phrase.split())


def chosen(*lists: Iterable[object]) -> tuple[str, ...]:
    """Return the usable phrases of all lists, each once, in their order: at most `MOST`."""
    found = dict[str, None]()
    for each in lists:
        for phrase in islice(each, _LOOKED_AT):
            if len(found) == MOST:
                return tuple(found)
            if (written := usable(phrase)) is not None:
                found[written] = None
    return tuple(found)
