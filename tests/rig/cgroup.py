"""Processes in a cgroup with little memory or little time on the CPU.

If they need more memory, their cache is reclaimed, and after that they are killed. It needs root. The controllers are
those of version 1 if they are mounted, or else those of version 2.
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


class _Group:
    """A group for the processes that are added, for the length of a block. At its end they are killed."""

    def __init__(self, controller: str) -> None:
        """Make the group. Raises OSError if it cannot be made."""
        self.first = (ROOT / controller).is_dir()
        if not self.first:
            (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        self.path = (ROOT / controller if self.first else ROOT) / f"flowpi-{os.getpid()}-{time.monotonic_ns()}"
        self.path.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for pid in (self.path / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            try:
                self.path.rmdir()
                return
            except OSError:  # a process in it has not ended yet
                assert time.monotonic() < deadline, f"{self.path} stays"
                select.select([], [], [], 0.01)

    def add(self, pid: int) -> None:
        (self.path / "cgroup.procs").write_text(str(pid))


class MemoryLimit(_Group):
    """A memory limit."""

    def __init__(self, limit: int) -> None:
        """Set a limit in bytes, including the page cache. Raises RuntimeError if no controller can be used."""
        try:
            super().__init__("memory")
            self._limit = self.path / ("memory.limit_in_bytes" if self.first else "memory.max")
            self._usage = self.path / ("memory.usage_in_bytes" if self.first else "memory.current")
            self.limit = limit
        except OSError as error:
            raise RuntimeError(f"no memory controller in {ROOT} ({error.strerror}): run the tests as root") from error

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


class CpuLimit(_Group):
    """A limit of the time on the CPU, for all processes in the group together."""

    PERIOD_US = 100_000
    """The kernel's default. Who has used its share of a period stands still until the next one."""

    def __init__(self, cores: float) -> None:
        """Set a limit: 0.5 is half of one core. Raises RuntimeError if no controller can be used."""
        quota = round(cores * self.PERIOD_US)
        try:
            super().__init__("cpu")
            if self.first:
                (self.path / "cpu.cfs_period_us").write_text(str(self.PERIOD_US))
                (self.path / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (self.path / "cpu.max").write_text(f"{quota} {self.PERIOD_US}")
        except OSError as error:
            raise RuntimeError(f"no CPU controller in {ROOT} ({error.strerror}): run the tests as root") from error

    @property
    def throttled(self) -> int:
        """The number of periods in which the group had to stand still."""
        stat = dict(line.split() for line in (self.path / "cpu.stat").read_text().splitlines())
        return int(stat["nr_throttled"])
