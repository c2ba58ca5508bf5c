"""A wall clock that leaps, for processes: `wall_clock.c`, preloaded."""

import struct
from pathlib import Path

from tests.rig.compiled import build

SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """The wall clock of all processes that run with `environment`. Timers and timeouts still use real time."""

    def __init__(self, path: Path) -> None:
        """Make the clock; `path` is a file used by nothing else."""
        self._path = path
        path.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(build(SOURCE, "-ldl")), "WALL_CLOCK": str(path)}

    def leap(self, wrong_s: int) -> None:
        """Move the clock by this many seconds from its true time."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("=q", wrong_s))
