"""The transcripts as files: `YYYY-MM-DD.jsonl`, one `transcript/final` payload a line.

The line is synced before the utterance counts as delivered; its spool file is deleted only then. Whoever starts after
a crash asks `ids` what got that far.

Each id and part stands there once. A line that could not be synced is taken back; as nobody knows then what of the
file is on the disk, the next line goes with the others into a new file, which takes its place when it is whole. A sync
that failed is never tried again on the same file: the kernel may have dropped what it did not write.
"""

import asyncio
import contextlib
import datetime
import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from flowpi.core.errors import CannotCreateError, SpoolError
from flowpi.core.retention import DAY_S, overdue
from flowpi.core.text import escaped
from flowpi.core.ulid import is_ulid
from flowpi.host.folders import FOLDER, READ, make_folder, write_and_delete
from flowpi.publish.messages import Final

log = logging.getLogger(__name__)

NAME = re.compile(r"\d{4}-\d\d-\d\d\.jsonl")
NEW = ".new"
PROBE = "probe.new"
PROBE_BYTES = 4096
"""More than most lines."""
TAIL_BYTES = 1 << 16
"""So much of the end of a file tells which ids were the last: twenty minutes of speech without a pause."""

APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REPLACE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


Done = TypeVar("Done")


class TextLog(Protocol):
    """What makes texts durable, and knows which are: `Transcripts`."""

    async def append(self, final: Final, unix_s: float) -> None:
        """Return once the text is durable. Raises SpoolError: it may be appended again."""

    def ids(self) -> set[tuple[str, int]]:
        """Return id and part of every text that is durable. Called on a thread."""


class Follower(Protocol):
    """Reads what is appended."""

    def appended(self) -> None:
        """Called on the loop after each line."""

    def expiring(self, name: str) -> None:
        """Called on the thread that writes, before a file is deleted for its age."""


class _Id(msgspec.Struct):
    id: str
    part: int


class Transcripts:
    """`append`, `probe`, `between_lines` and `follow` are called on the loop, the rest on any thread.

    Attributes:
        rewritten: how many files were replaced by a new one; offsets in them no longer hold.
    """

    def __init__(self, directory: Path, keep_days: int) -> None:
        self.directory = directory
        self._keep_days = keep_days
        self._thread = ThreadPoolExecutor(1, "transcripts")
        self._doubtful: set[str] = set()
        """Names of files of which it is not known what is on the disk."""
        self._noted: dict[str, float] = {}
        self._written: dict[str, float] = {}
        """Monotonic seconds of the last line that this process wrote, by file."""
        self._settled: set[str] = set()
        self._followers: list[Follower] = []
        self.rewritten = 0

    def open(self) -> None:
        """Raises CannotCreateError if the directory cannot be made."""
        try:
            make_folder(self.directory)
        except OSError as error:
            raise CannotCreateError(
                f"the transcripts directory {str(self.directory)!r} cannot be used ({error.strerror})",
                "set publish.files.directory",
            ) from error

    def close(self) -> None:
        """After what is being written is written."""
        self._thread.shutdown()

    async def append(self, final: Final, unix_s: float) -> None:
        """Write the line and sync it; nothing is written if it stands there already. `unix_s`: now, names the file.

        Raises:
            SpoolError: the disk does not take it. The line does not count, and may be appended again.
        """
        day = datetime.datetime.fromtimestamp(unix_s, datetime.UTC).date()
        line = escaped(msgspec.json.encode(final)) + b"\n"
        one = (final.id, final.part)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._append, f"{day}.jsonl", line, one)
        except OSError as error:
            raise self._not_written(error) from error
        for follower in self._followers:
            follower.appended()

    def follow(self, follower: Follower) -> None:
        """Call it for each line from now on."""
        self._followers.append(follower)

    async def between_lines(self, job: Callable[[], Done]) -> Done:
        """Run a short job on the thread that writes, which sees no half-written line.

        Once called it is carried out, even if the caller is cancelled.
        """
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(job)))

    def names(self) -> list[str]:
        """The files, oldest first. Raises OSError if that is not known."""
        return sorted(
            path.name
            for path in self.directory.iterdir()
            if NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        )

    def settle(self, name: str) -> None:
        """Make durable what a file holds, for a job that reads it `between_lines`. Raises OSError."""
        if name in self._doubtful:
            self._replace(name)
        elif name not in self._settled:
            with opened(self.directory / name) as handle:
                try:
                    os.fsync(handle)
                except OSError:
                    self._doubtful.add(name)
                    raise
        self._settled.add(name)

    async def probe(self) -> None:
        """Whether a transcript could be written now: a small file is, is synced and deleted.

        Raises:
            SpoolError: it could not.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._probe)
        except OSError as error:
            raise self._not_written(error) from error

    def _probe(self) -> None:
        make_folder(self.directory)
        handle = os.open(self.directory, FOLDER)
        try:
            write_and_delete(PROBE, handle, bytes(PROBE_BYTES))
        finally:
            os.close(handle)

    def _not_written(self, error: OSError) -> SpoolError:
        return SpoolError(
            f"the transcript cannot be written to {str(self.directory)!r} ({error.strerror})",
            "free some space on its disk, or set publish.files.directory",
        )

    def ids(self) -> set[tuple[str, int]]:
        """Id and part of every transcript that is durable. Reads all files: any thread but the loop's."""
        found: set[tuple[str, int]] = set()
        for path in self._files():
            try:
                with opened(path) as handle:
                    os.fsync(handle)  # a killed process may have written what is not on the disk yet
                    with open(handle, "rb", closefd=False) as lines:
                        found.update(_ids(lines.read()))
            except OSError as error:
                log.warning("%s cannot be read (%s)", path.name, error.strerror)
                self._doubtful.add(path.name)
        return found

    def last_id(self) -> str | None:
        """The greatest id among the last lines of all files: new ones must follow it, whatever the clock says."""
        found: set[str] = set()
        for path in self._files():
            with contextlib.suppress(OSError), opened(path) as handle:
                start = max(0, os.fstat(handle).st_size - TAIL_BYTES)
                found.update(id for id, _ in _ids(os.pread(handle, TAIL_BYTES, start)) if is_ulid(id))
        return max(found, default=None)

    def expire(self, unix_s: float, monotonic_s: float) -> None:
        """Delete files of days that are `keep_days` past, see `retention.py`. For once an hour."""
        born = {path.name: _end_of_day(path.name) for path in self._files()}
        keep_s = self._keep_days * DAY_S
        due, self._noted = overdue(born, self._noted, keep_s=keep_s, unix_s=unix_s, monotonic_s=monotonic_s)
        for name in due:
            if monotonic_s - self._written.get(name, float("-inf")) < keep_s:
                continue  # dated by a clock that was behind: the texts in it are of today
            self._thread.submit(self._delete, name).result()

    def _delete(self, name: str) -> None:
        for follower in self._followers:
            follower.expiring(name)
        with contextlib.suppress(OSError):
            (self.directory / name).unlink()
            log.info("deleted %s: older than %d days", name, self._keep_days)

    def _files(self) -> list[Path]:
        try:
            return [self.directory / name for name in self.names()]
        except OSError:
            return []

    def _append(self, name: str, line: bytes, one: tuple[str, int]) -> None:
        try:
            handle = self._open(name)
        except FileNotFoundError:  # somebody tidied up
            make_folder(self.directory)
            handle = self._open(name)
        try:
            if self._stands(one, name):
                return
            if name in self._doubtful:
                self._replace(name, line)
                return
            self._add(handle, name, line)
            self._written[name] = time.monotonic()
        finally:
            os.close(handle)

    def _add(self, handle: int, name: str, line: bytes) -> None:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a power cut tore the last line: it must not swallow this one
        in_doubt = True
        try:
            if size == 0:  # new, or left empty by a disk that was full
                self._sync_directory()  # first: a line that is there counts as written
            in_doubt = False
            if os.write(handle, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            in_doubt = True
            os.fsync(handle)
        except OSError:
            try:
                os.ftruncate(handle, size)
            except OSError:
                in_doubt = True
            if in_doubt:
                self._doubtful.add(name)
            raise

    def _open(self, name: str) -> int:
        return os.open(self.directory / name, APPEND, 0o600)

    def _stands(self, one: tuple[str, int], today: str) -> bool:
        """Whether there is a line of it already that is durable.

        Found among the last lines of today's file and of the one before. In a file that is in doubt no line counts.
        """
        last = sorted(path.name for path in self._files() if path.name != today)[-1:]
        for name in {today, *last, *self._doubtful}:
            try:
                with opened(self.directory / name) as handle:
                    start = max(0, os.fstat(handle).st_size - TAIL_BYTES)
                    if one not in _ids(os.pread(handle, TAIL_BYTES, start)):
                        continue
                    if name in self._doubtful:
                        self._replace(name)
                    else:
                        os.fsync(handle)
                    return True
            except FileNotFoundError:
                continue
            except OSError as error:
                if name == today:
                    raise
                log.debug("%s cannot be read (%s)", name, error.strerror)  # it must not keep today's texts back
        return False

    def _replace(self, name: str, line: bytes = b"") -> None:
        """Put a new file in the place of one in doubt: its lines, each once, and `line`."""
        path, new = self.directory / name, self.directory / (name + NEW)
        with opened(path) as handle, open(handle, "rb", closefd=False) as file:
            old = file.read()
        *pieces, last = old.split(b"\n")
        if _ids(last):  # all of it but its end
            pieces.append(last)
        whole = b"".join(piece + b"\n" for piece in dict.fromkeys(pieces) if piece)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, REPLACE, 0o600), "wb") as written:
            written.write(whole + line)
            written.flush()
            os.fsync(written.fileno())
        new.rename(path)
        self.rewritten += 1
        self._sync_directory()
        self._doubtful.discard(name)

    def _sync_directory(self) -> None:
        handle = os.open(self.directory, FOLDER)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A handle for reading."""
    handle = os.open(path, READ)
    try:
        yield handle
    finally:
        os.close(handle)


def _ids(lines: bytes) -> set[tuple[str, int]]:
    """Of the lines that are whole."""
    found = set()
    for line in lines.splitlines():
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            one = _decoder.decode(line)
            found.add((one.id, one.part))
    return found


_decoder = msgspec.json.Decoder(_Id)


def _end_of_day(name: str) -> float:
    """Unix seconds. 0 for what is no date: its age is unknown."""
    try:
        day = datetime.datetime.strptime(name, "%Y-%m-%d.jsonl").replace(tzinfo=datetime.UTC)
    except ValueError:
        return 0.0
    return day.timestamp() + DAY_S
