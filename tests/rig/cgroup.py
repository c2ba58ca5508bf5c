"""A process in a cgroup with little memory: if it needs more, its cache is reclaimed, and after that it is killed.

It needs root. The controller is that of version 1 if it is mounted, or else that of version 2.
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
    """A memory limit for the processes that are added, for the length of a block. At its end they are killed."""

    def __init__(self, limit: int) -> None:
        """Set a limit in bytes, including the page cache. Raises RuntimeError if no controller can be used."""
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
            except OSError:  # a process in it has not ended yet
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
