"""Text of a stranger's, made fit for a line of a log or a terminal."""

MOST = 200
"""Letters: an error says what is wrong, not all that a peer has to say."""


def printable(text: str, most: int = MOST) -> str:
    """One line of at most `most` letters; a space for each that would move the cursor, or cannot be shown."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:most])
