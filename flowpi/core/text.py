"""Text of a stranger's, made fit for a line of a log, a file, a socket or a terminal."""

import json

MOST = 200
"""Letters: an error says what is wrong, not all that a peer has to say."""


def printable(text: str, most: int = MOST) -> str:
    """One line of at most `most` letters; a space for each that would move the cursor, or cannot be shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most])


def escaped(encoded: bytes) -> bytes:
    """JSON on one line, with each letter escaped that ends a line for somebody, or that a terminal acts on.

    It means the same: a program that reads it loses nothing. JSON itself asks for this only below U+0020.
    """
    text = encoded.decode()
    if text.isprintable():  # nearly always
        return encoded
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text).encode()
