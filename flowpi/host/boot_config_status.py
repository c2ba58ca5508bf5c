"""What `flowpi provision` found wrong with the configuration on the boot partition, passed on to the daemon.

The daemon shows it, and starts with the configuration that it had before. It may not read the boot partition itself.
"""

import contextlib
import os
from pathlib import Path

from flowpi.core.safe_text import printable

RUN = Path("/run/flowpi-provision")
"""The `RuntimeDirectory=` of flowpi-provision.service."""

NAME = "refused"


def tell(run: Path, words: str) -> None:
    """Store one line in the directory `run`, which lasts until the next boot. Raises OSError."""
    run.mkdir(mode=0o755, exist_ok=True)
    beside = run / f".{NAME}"
    beside.write_text(printable(words, 1000) + "\n")
    beside.chmod(0o644)
    beside.replace(run / NAME)


def withdraw(run: Path) -> None:
    """Delete what is stored, if anything is: the configuration was accepted, or there is none. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(run / NAME)


def read(run: Path = RUN) -> str | None:
    """Return in one line what is wrong and what to do, or None if nothing is, or if it cannot be read."""
    try:
        return (run / NAME).read_text().strip() or None
    except (OSError, ValueError):
        return None
