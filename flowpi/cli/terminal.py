"""Output of untrusted text on a terminal."""

import sys

from flowpi.core.text import printable


def print_safely(text: str) -> None:
    """Print lines and flush them, without what a terminal would interpret, which dictated text may contain."""
    sys.stdout.write("\n".join(printable(line, None) for line in text.split("\n")) + "\n")
    sys.stdout.flush()
