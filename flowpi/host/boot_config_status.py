"""What `flowpi provision` found wrong with the file on the boot partition, for the daemon, which shows it.

The daemon may not see the boot partition, and starts with the configuration of before.
"""

import contextlib
import os
from pathlib import Path

from flowpi.core.text import printable

RUN = Path("/run/flowpi-provision")
"""The RuntimeDirectory= of flowpi-provision.service."""

NAME = "refused"


def tell(run: Path, words: str) -> None:
    """Leave one line there until the next boot. Raises OSError."""
    run.mkdir(mode=0o755, exist_ok=True)
    beside = run / f".{NAME}"
    beside.write_text(printable(words, 1000) + "\n")
    beside.chmod(0o644)
    beside.replace(run / NAME)


def withdraw(run: Path) -> None:
    """All is well, or nobody said otherwise. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(run / NAME)


def read(run: Path = RUN) -> str | None:
    """What is wrong and what to do, in one line; None if nothing is."""
    try:
        return (run / NAME).read_text().strip() or None
    except (OSError, ValueError):
        return None
