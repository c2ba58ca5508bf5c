"""Output of untrusted text on a terminal."""

import codecs
import json
import os
import sys
from pathlib import Path

from flowpi.core.safe_text import escaped, printable


def print_safely(text: str) -> None:
    """Print lines and flush them, without what a terminal would interpret, which dictated text may contain."""
    sys.stdout.write("\n".join(printable(line, None) for line in text.split("\n")) + "\n")
    sys.stdout.flush()


def json_line(value: object) -> str:
    """Return a value as one line of JSON that a user can read, without anything that a terminal would interpret."""
    # What stdout cannot encode would be escaped as Python does it, which is no JSON.
    in_ascii = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    return escaped(json.dumps(value, ensure_ascii=in_ascii).encode()).decode()


def print_path(path: Path) -> None:
    """Print the path of a file that was made: for another program as it is, for a person safely."""
    if sys.stdout.isatty():
        print_safely(printable(str(path), None))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.buffer.flush()
