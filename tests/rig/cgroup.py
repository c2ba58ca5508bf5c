"""A process in a cgroup with little memory: what it takes beyond is reclaimed from its cache, and then it is killed.

Needs root. The controller is version 1's where it is mounted, else version 2's.
"""

import os
import select
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.waiting import PATIENCE_S

ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """For the processes that are added, while its context lasts; they are killed at its end, if they still live."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes, the page cache included. RuntimeError: there is no controller for us."""
        first = (ROOT / "memory").is_dir()
        self._group = (ROOT / "memory" if first else ROOT) / f"flowpi-{os.getpid()}-{time.monotonic_ns()}"
        self._limit = self._group / ("memory.limit_in_bytes" if first else "memory.max")
        self._usage = self._group / ("memory.usage_in_bytes" if first else "memory.current")
        try:
            self._group.mkdir()
            self.limit = limit
        except OSError as error:
            raise RuntimeError(f"no memory controller in {ROOT} ({error.strerror}): run the tests as root") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for pid in (self._group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            try:
                self._group.rmdir()
                return
            except OSError:  # a process that is ending is still in it
                assert time.monotonic() < deadline, f"{self._group} stays"
                select.select([], [], [], 0.01)

    def add(self, pid: int) -> None:
        (self._group / "cgroup.procs").write_text(str(pid))

    @property
    def usage(self) -> int:
        return int(self._usage.read_text())

    @property
    def limit(self) -> int:
        return int(self._limit.read_text())

    @limit.setter
    def limit(self, limit: int) -> None:
        """Set the limit. Raises OSError if that much memory cannot be reclaimed."""
        self._limit.write_text(str(limit))

    def press(self) -> None:
        """Reclaim all unused memory, so that the next allocation exceeds the limit."""
        for share in (0.8, 0.9, 0.95, 0.99, 1.0):
            try:
                self.limit = round(self.usage * share)
                return
            except OSError:
                pass
