"""What the hook keeps on the disk: its position in the texts, and those that its program refused, in a directory.

A text that was refused is here before the position is moved behind it, as with the sinks of the daemon. The text itself
is in the transcripts of the daemon.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from flowpi.core.errors import AlreadyRunning, CannotCreateError, NoPermissionError, SinkError
from flowpi.core.ulid import is_ulid
from flowpi.host.disk_hints import disk_hint
from flowpi.host.durable_file import DurableFile
from flowpi.host.folders import make_folder
from flowpi.publish.messages import TextId
from flowpi.publish.parked import ParkedTexts

log = logging.getLogger(__name__)

Done = TypeVar("Done")

POSITION, REFUSED, LOCK = "command.position", "command.parked", "lock"

REMEMBERED = 256
"""How many texts are kept beside the position, so that one which comes again is known: some 12 KiB."""


class _Position(msgspec.Struct, frozen=True):
    """The content of the file of the position: the last text that is done with, and those before it."""

    id: str
    part: int
    done: tuple[TextId, ...] = ()

    def __post_init__(self) -> None:
        if not is_ulid(self.id):
            raise ValueError("it has no id of a text")


class HookState:
    """The directory of a hook, which no other one uses at the same time.

    Attributes:
        position: the last text that is done with; None before the first start.
        refused: the texts that were given up.
    """

    def __init__(self, directory: Path) -> None:
        """Open the directory; it is made if it is missing.

        Raises:
            AlreadyRunning: another hook uses it.
            CannotCreateError: it cannot be made or read.
        """
        self._directory = directory
        self._done: tuple[TextId, ...] = ()
        """The last texts that are done with, in this order."""
        self._file = DurableFile(
            directory / POSITION,
            _Position,
            "the command goes on where the daemon shows it, else with the texts from now on",
        )
        self.refused = ParkedTexts(directory / REFUSED)
        self.position: TextId | None = None
        try:
            make_folder(directory)
            self._lock = _locked(directory)
            self.refused.read()
            if (position := self._file.read()) is not None:
                self.position, self._done = TextId(position.id, position.part), position.done
        except OSError as error:
            hint = "it belongs to flowpi-hook.service" if isinstance(error, PermissionError) else ""
            raise CannotCreateError(f"cannot use {directory} ({error.strerror})", hint) from error

    def close(self) -> None:
        """Let another hook use the directory."""
        os.close(self._lock)

    async def passed(self, text: TextId) -> None:
        """Note, durably, that a text is done with. Raises SinkError."""
        done = (*self._done, text)[-REMEMBERED:]
        await self._do(partial(self._file.write, _Position(text.id, text.part, done)))
        self.position, self._done = text, done

    def has_passed(self, text: TextId) -> bool:
        """Return whether a text is among the last ones that are done with."""
        return text in self._done

    async def refuse(self, text: TextId, reason: str) -> None:
        """Note, durably, that a text is given up. Raises SinkError, also if too many are."""
        await self._do(lambda: self._refuse(text, reason))

    async def accept(self, text: TextId) -> None:
        """Forget that a text was given up. Raises SinkError."""
        await self._do(lambda: self.refused.remove({text}))

    async def forget(self) -> None:
        """Forget all that were given up. Raises SinkError."""
        await self._do(self.refused.clear)

    async def _do(self, job: Callable[[], Done]) -> Done:
        """Run a job of the disk on a thread. Raises SinkError."""
        try:
            return await asyncio.to_thread(job)
        except OSError as error:
            what = f"cannot write to {self._directory} ({error.strerror or error})"
            raise SinkError(what, disk_hint(error)) from error

    def _refuse(self, text: TextId, reason: str) -> None:
        try:
            self.refused.add("", text, reason)
        except SinkError as error:
            raise SinkError(error.message, "see `flowpi hook list`; `flowpi hook skip` forgets them") from error


def refused_in(directory: Path) -> ParkedTexts:
    """Return the texts that were given up, for a reader beside the hook. Raises NoPermissionError."""
    found = ParkedTexts(directory / REFUSED)
    try:
        found.read()
    except PermissionError:
        raise NoPermissionError(f"may not read {directory}", "use sudo") from None
    return found


@contextlib.contextmanager
def running_in(directory: Path) -> Iterator[int | None]:
    """Return a descriptor of the process of the hook that uses a directory, for the length of a block.

    None if there is none. The hook's user may replace all that is in the directory, so it is a process of the owner of
    the directory only, whatever number the lock has: root must not send its signals to another.

    Raises:
        NoPermissionError: this user may not read the directory.
    """
    number = _number_in(directory)
    try:
        process = os.pidfd_open(number) if number is not None else None
    except (OSError, OverflowError):  # it has ended, or that is no number of a process
        process = None
    try:
        # Only now, while the descriptor keeps the number from meaning another process unnoticed.
        yield process if process is not None and _owner(number) == directory.stat().st_uid else None
    finally:
        if process is not None:
            os.close(process)


def _number_in(directory: Path) -> int | None:
    """Return the number that is in the lock of a directory, or None if nobody holds it."""
    try:
        # Without O_NONBLOCK, a pipe in its place would be waited for.
        handle = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except PermissionError:
        raise NoPermissionError(f"may not read {directory}", "use sudo") from None
    except OSError:  # there is none, or it is no file
        return None
    try:
        if stat.S_ISREG(os.fstat(handle).st_mode):
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(ValueError):
            return int(os.read(handle, 20))
    finally:
        os.close(handle)
    return None


def _owner(process: int | None) -> int | None:
    """Return the real user of a process, or None if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("Uid:"):
                return int(line.split()[1])
    return None


def _locked(directory: Path) -> int:
    """Return the descriptor of the lock of this directory. Raises OSError and AlreadyRunning."""
    handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        number = os.read(handle, 20).decode(errors="replace").strip()
        os.close(handle)
        hint = "stop that one: `systemctl stop flowpi-hook`, or Ctrl-C where it was started"
        raise AlreadyRunning(f"another `flowpi hook` runs already (process {number})", hint) from None
    return handle
