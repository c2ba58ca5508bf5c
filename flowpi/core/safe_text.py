"""Untrusted text, made safe for logs, files, sockets and terminals."""

import re

OVERRIDES = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
"""The bidirectional classes of what changes the direction of other text: U+202A to U+202E, and U+2066 to U+2069."""

BLANKS = re.compile("[ \t-\r\x1c-\x1f\x85\u2028\u2029]+")
"""The space, tabs, and all that some program treats as the end of a line."""

MOST = 200
"""The most characters of a peer's message in an error."""


def printable(text: str, most: int | None = MOST) -> str:
    """Return text as one line of at most `most` characters that does nothing to a terminal.

    Control characters and ends of lines become a space, and what overrides the direction of the text around it goes.
    What belongs to a script stays, although Unicode does not call it printable: joiners, marks, soft hyphens, the
    spaces of French and Japanese, tags in emoji, and characters that are newer than this Python.
    """
    line = text[:most]
    return line if line.isprintable() else "".join(map(_harmless, line))


def one_line(text: str) -> str:
    """Return text as one `printable` line, with a single space in the place of the ends of lines and the spaces there.

    Other spaces, such as those of French and Japanese, belong to the script and stay.
    """
    return printable(" ".join(filter(None, BLANKS.split(text))), None)


def _harmless(letter: str) -> str:
    from unicodedata import bidirectional, category

    match category(letter):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cs":
            return "\ufffd"
        case "Cf" if bidirectional(letter) in OVERRIDES:
            return ""
        case _:
            return letter


def escaped(encoded: bytes) -> bytes:
    """Return JSON with each character escaped that some program treats as the end of a line, or a terminal interprets.

    The value stays the same for a program that decodes it. JSON itself requires this only below U+0020.
    """
    text = encoded.decode()
    if text.isprintable():  # nearly always
        return encoded
    import json

    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text).encode()
