"""Output of untrusted text on a terminal."""

import os
import sys
from pathlib import Path

from flowpi.core.text import printable


def print_safely(text: str) -> None:
    """Print lines and flush them, without what a terminal would interpret, which dictated text may contain."""
    sys.stdout.write("\n".join(printable(line, None) for line in text.split("\n")) + "\n")
    sys.stdout.flush()


def print_path(path: Path) -> None:
    """Print the path of a file that was made: for another program as it is, for a person safely."""
    if sys.stdout.isatty():
        print_safely(printable(str(path), None))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.buffer.flush()
