"""The writes and syncs of a running process, recorded by strace, whatever code makes them."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.rig.trace import Call, parse
from tests.waiting import PATIENCE_S, wait_for

CALLS = (
    "write,writev,pwrite64,pwritev,pwritev2,sendfile,copy_file_range,splice,fsync,fdatasync,sync,syncfs,"
    "sync_file_range,msync,ftruncate,fallocate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat"
)
SYNCS = ("fsync", "fdatasync", "sync", "syncfs", "sync_file_range", "msync")

_NAMED = re.compile(r'"(/[^"]*)"')


class Writes:
    """Records the calls of all threads of a process for the length of a block; `calls` has them afterwards.

    Only writes to files are recorded, not those to a socket, a pipe, a terminal or a device.
    """

    def __init__(self, pid: int, directory: Path, *besides: Path) -> None:
        """
        Args:
            directory: where strace writes its file.
            besides: files of the test itself, which do not count.
        """
        assert shutil.which("strace"), "strace is missing: apt-get install strace"
        self._pid = pid
        self._file = directory / f"strace-{pid}-{time.monotonic_ns()}"
        self._besides = besides
        self._process: subprocess.Popen[bytes] | None = None
        self.calls: list[Call] = []

    def __enter__(self) -> Self:
        options = ["-f", "-y", "-qq", "-s", "0", "-e", f"trace={CALLS}", "-e", "signal=none"]
        self._process = subprocess.Popen(["strace", *options, "-o", str(self._file), "-p", str(self._pid)])
        wait_for(self._traces_all, "strace does not get hold of it")
        return self

    def _traces_all(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "strace ended"
        return all(_is_traced(task) for task in Path(f"/proc/{self._pid}/task").iterdir())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        for call in parse(self._file.read_text()):
            named = _NAMED.search(call.arguments)
            path = call.path or (named[1] if named else "")
            if path.startswith("/") and not path.startswith("/dev/") and Path(path) not in self._besides:
                self.calls.append(call)

    @property
    def syncs(self) -> int:
        return sum(call.name in SYNCS for call in self.calls)

    @property
    def written(self) -> int:
        """The number of bytes that were written."""
        return sum(max(0, call.result) for call in self.calls if "write" in call.name)


def _is_traced(task: Path) -> bool:
    return "TracerPid:\t0\n" not in (task / "status").read_text()
