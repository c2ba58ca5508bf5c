"""What a text may do to a terminal or to the lines of a file."""

import unicodedata


def acting(text: str) -> set[str]:
    """Return the characters of a line that control a terminal, end a line, or change the direction of other text."""
    return {
        letter
        for letter in text
        if unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs")
        or "\u202a" <= letter <= "\u202e"
        or "\u2066" <= letter <= "\u2069"
    }
