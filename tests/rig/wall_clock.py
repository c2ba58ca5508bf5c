"""A wall clock that leaps, for processes: `wall_clock.c`, preloaded."""

import struct
from pathlib import Path

from tests.rig.preload import build

SOURCE = Path(__file__).with_name("wall_clock.c")


class WallClock:
    """Of all processes that run with `environment`. Real time goes on as it was, for timers and timeouts too."""

    def __init__(self, path: Path) -> None:
        """`path`: of a file of its own."""
        self._path = path
        path.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(build(SOURCE)), "WALL_CLOCK": str(path)}

    def leap(self, wrong_s: int) -> None:
        """From now on it is wrong by so many seconds."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("=q", wrong_s))
