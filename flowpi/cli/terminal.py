"""Output of untrusted text on a terminal."""

import sys


def print_safely(text: str) -> None:
    """Print a line at once, with control characters replaced: dictated text may hold some."""
    sys.stdout.write("".join(c if c.isprintable() or c == "\n" else " " for c in text) + "\n")
    sys.stdout.flush()
