"""One run of the user's program, from its start until nothing of it is left.

A run is a session of its own. When it ends, or its time is up, its process group is killed. What has left the group for
a session of its own becomes a child of this process (`adopt_orphans`), and is found and killed as that. So a run leaves
nothing behind that could run into the next one.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""What each run has in its environment, besides what is said about its message."""

GRACE_S = 2.0
"""From SIGTERM to SIGKILL, and the longest wait for what was killed to be gone."""

OUTPUT_BYTES = 64 * 1024
"""How much of what a run prints is kept; more is read and thrown away, so that it need not wait."""

PIPE_BYTES, MOST_PIPE_BYTES = 64 * 1024, 1024 * 1024
"""What a pipe holds, and what one may be made to hold: pipe(7)."""

LOOK_S = 0.01

PR_SET_CHILD_SUBREAPER = 36


class Outcome(Struct, frozen=True):
    """How a run ended.

    Attributes:
        code: its exit code, or minus the number of the signal that ended it; None if it could not be started.
        why: why it was not started; or empty.
        timed_out: whether its time was up.
        output: the beginning of what it printed, and `more` the number of bytes behind that.
    """

    code: int | None
    why: str = ""
    timed_out: bool = False
    output: bytes = b""
    more: int = 0


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind, so that `run` finds it."""
    nothing = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), nothing, nothing, nothing)


async def run(argv: Sequence[str], line: bytes, about: Mapping[str, str], timeout_s: float) -> Outcome:
    """Run a program with a line on its standard input. Cancelling ends it as the end of its time does.

    Args:
        about: what is said about the line, as variables of the environment. Never text: other users can read it.
    """
    before = children()
    given, giving, left = _pipe_with(line)
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 (it returns as soon as the program is loaded)
            argv,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd="/",
            env={**ENVIRONMENT, **about},
            umask=0o077,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a transcript edited by hand has a null character in a profile
        os.close(giving)
        return Outcome(None, (getattr(error, "strerror", None) or str(error)).lower())
    finally:
        os.close(given)
    return await _Run(process, before).result(giving, left, timeout_s)


def children() -> set[int]:
    """Return the processes whose parent is this one, also those that have ended and are not reaped."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended since
                # The name of the program may have spaces and brackets.
                parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[1]
                if int(parent) == os.getpid():
                    found.add(int(folder.name))
    return found


class _Run:
    """A process that was started, and what it prints."""

    def __init__(self, process: "subprocess.Popen[bytes]", before: set[int]) -> None:
        """`before`: the children of this process that it had before."""
        self._process = process
        self._before = before
        self._output = bytearray()
        self._more = 0

    async def result(self, giving: int, left: bytes, timeout_s: float) -> Outcome:
        """Return how it ended, once nothing of it is left.

        Args:
            giving: the pipe to its standard input, which is closed here.
            left: what is not in the pipe yet.
        """
        assert self._process.stdout is not None
        pidfd = os.pidfd_open(self._process.pid)
        writing = asyncio.ensure_future(_write(giving, left))
        reading = asyncio.ensure_future(self._read(self._process.stdout.fileno()))
        ended = asyncio.ensure_future(_ready(pidfd, write=False))
        timed_out = False
        try:
            await asyncio.wait({ended}, timeout=timeout_s)
            timed_out = not ended.done()
        finally:
            try:
                if not ended.done():
                    self._signal(signal.SIGTERM)
                    await asyncio.wait({ended, reading}, timeout=GRACE_S)
                await self._kill(ended, reading)
            finally:
                for task in (writing, reading, ended):
                    task.cancel()
                await asyncio.gather(writing, reading, ended, return_exceptions=True)
                self._process.stdout.close()
                os.close(pidfd)
        return Outcome(self._process.returncode, "", timed_out, bytes(self._output), self._more)

    async def _kill(self, ended: asyncio.Future[None], reading: asyncio.Future[None]) -> None:
        """End all that is left, by SIGKILL."""
        # Before the process is reaped: as long as it is a zombie, no other group can have its number.
        self._signal(signal.SIGKILL)
        await asyncio.wait({ended}, timeout=GRACE_S)
        self._process.poll()
        deadline, others = asyncio.get_running_loop().time() + GRACE_S, {self._process.pid, *self._before}
        # What is killed may leave children of its own, which are found in the next round.
        while (left := children() - others) and asyncio.get_running_loop().time() < deadline:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 (it does not wait)
            await asyncio.sleep(LOOK_S)
        await asyncio.wait({reading}, timeout=GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, number)

    async def _read(self, handle: int) -> None:
        """Keep the beginning of what it prints, until all that could print are gone."""
        os.set_blocking(handle, False)
        while True:
            await _ready(handle, write=False)
            try:
                piece = os.read(handle, OUTPUT_BYTES)
            except BlockingIOError:
                continue
            if not piece:
                return
            kept = piece[: OUTPUT_BYTES - len(self._output)]
            self._output += kept
            self._more += len(piece) - len(kept)


def _pipe_with(line: bytes) -> tuple[int, int, bytes]:
    """Return both ends of a pipe with as much of a line as it takes, and the rest, mostly none.

    The line is there before the program starts: if this process is killed, the program must not read half of it.
    """
    given, giving = os.pipe()
    if len(line) > PIPE_BYTES:
        with contextlib.suppress(OSError):  # the kernel allows each user so much
            fcntl.fcntl(giving, fcntl.F_SETPIPE_SZ, min(len(line), MOST_PIPE_BYTES))
    os.set_blocking(giving, False)
    return given, giving, line[os.write(giving, line) :]


async def _write(pipe: int, left: bytes) -> None:
    """Write the rest of a line and close the pipe. A program that does not read it has its reasons."""
    try:
        with contextlib.suppress(BrokenPipeError):
            while left:
                await _ready(pipe, write=True)
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(pipe, left) :]
    finally:
        os.close(pipe)


async def _ready(handle: int, *, write: bool) -> None:
    """Wait until a descriptor can be written, or read without waiting."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def now() -> None:
        if not ready.done():
            ready.set_result(None)

    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(handle, now)
    try:
        await ready
    finally:
        remove(handle)
