"""What of a text that still grows can be taken as settled: what two texts in a row agree on (LocalAgreement-2)."""

import unicodedata


def agreed(before: str, now: str) -> int:
    """Return how many characters at the start of two texts are the same, up to the end of a word in both."""
    same = next((at for at, (one, other) in enumerate(zip(before, now, strict=False)) if one != other), None)
    at = min(len(before), len(now)) if same is None else same
    while at and not (_ends_word(before, at) and _ends_word(now, at)):
        at -= 1
    return len(now[:at].rstrip())


def _ends_word(text: str, at: int) -> bool:
    if at == len(text) or text[at].isspace() or text[at - 1].isspace():
        return True
    return _is_a_word(text[at - 1]) and not _belongs_to_the_one_before(text[at])


def _is_a_word(character: str) -> bool:
    """Return whether a character stands by itself: a script with wide characters has no spaces between words."""
    return unicodedata.east_asian_width(character) in ("W", "F")


def _belongs_to_the_one_before(character: str) -> bool:
    """Return whether it is an accent or a joiner, or the colour of an emoji."""
    return unicodedata.category(character) in ("Mn", "Mc", "Me", "Cf", "Sk")
