"""A hint for a word that is not known: the one that was probably meant, or all that are."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `did you mean X?` if a known word is similar, or else all known words."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1) or [each for each in known if each == word.lower()]
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
