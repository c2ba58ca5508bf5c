"""Output of untrusted text on a terminal."""

import sys


def print_safely(text: str) -> None:
    """Print a line and flush it, with control characters replaced, which dictated text may contain."""
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else " " for c in text) + "\n")
    sys.stdout.flush()
