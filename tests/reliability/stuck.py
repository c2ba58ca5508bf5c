"""`python -m tests.reliability.stuck FILE OPTIONS`: a daemon that does not read its microphone while FILE.stuck exists.

A driver that reports its next period wrongly behaves like this: the loop turns, commands are answered, and nothing is
heard.
"""

import sys
from pathlib import Path

from flowpi.audio.alsa import AlsaSource
from tests.rig import led

due = AlsaSource.due
stuck = Path(sys.argv[1]).with_suffix(".stuck")


def due_never(self: AlsaSource, at: float) -> float:
    return due(self, at) + (1e6 if stuck.exists() else 0)


if __name__ == "__main__":
    AlsaSource.due = due_never  # type: ignore[assignment, method-assign]
    sys.exit(led.main())
