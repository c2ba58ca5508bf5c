"""Untrusted text, made safe for logs, files, sockets and terminals."""

MOST = 200
"""The most characters of a peer's message in an error."""


def printable(text: str, most: int = MOST) -> str:
    """Return text as one line of at most `most` characters, with a space for each that is not printable."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most])


def escaped(encoded: bytes) -> bytes:
    """Return JSON with each character escaped that some program treats as the end of a line, or a terminal interprets.

    The value stays the same for a program that decodes it. JSON itself requires this only below U+0020.
    """
    text = encoded.decode()
    if text.isprintable():  # nearly always
        return encoded
    import json

    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text).encode()
