"""The transcripts as files: `YYYY-MM-DD.jsonl`, one `transcript/final` payload a line.

The line is synced before the utterance counts as delivered, and its spool file is deleted only then. After a crash,
`ids` returns which utterances got that far.

Each id and part is in the files once. A line that could not be synced is cut off again. It is then unknown what of the
file is on the disk, so the next line is written with all others to a new file, which replaces the old one when it is
whole. A sync that failed is never repeated on the same file: the kernel may have dropped what it did not write.
"""

import asyncio
import contextlib
import datetime
import errno
import logging
import os
import re
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from flowpi.core.errors import CannotCreateError, SpoolError
from flowpi.core.safe_text import escaped
from flowpi.host.disk_hints import disk_hint
from flowpi.host.folders import FOLDER, make_folder, write_and_delete
from flowpi.publish.expiry import Expiry
from flowpi.publish.lines import ids_in, opened
from flowpi.publish.messages import Final

log = logging.getLogger(__name__)

NAME = re.compile(r"\d{4}-\d\d-\d\d\.jsonl")
ID = re.compile(rb'"id": ?"([0-7][0-9A-HJKMNP-TV-Z]{25})"')
"""The id in a line: a ULID."""
NEW = ".new"
PROBE = "probe.new"
PROBE_BYTES = 4096
"""The size of the file that `probe` writes: more than most lines."""
TAIL_BYTES = 1 << 16
"""How much of the end of a file is searched for an id: twenty minutes of speech without a pause."""

APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
REPLACE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Done = TypeVar("Done")


class TextLog(Protocol):
    """The durable record of texts: `Transcripts`."""

    async def append(self, final: Final, unix_s: float) -> None:
        """Return once the text is durable. Raises SpoolError if it is not: it may be appended again."""

    def ids(self) -> set[tuple[str, int]]:
        """Return id and part of every text that is durable. Called on a thread."""


class Follower(Protocol):
    """A reader of what is appended."""

    def appended(self) -> None:
        """Called on the loop after each line."""

    def holds(self, name: str) -> bool:
        """Return whether it still has to read in a file that is due to be deleted. Called on the thread that writes."""

    def expiring(self, name: str) -> None:
        """Called on the thread that writes, before a file is deleted for its age."""


class Transcripts:
    """The day files. `append`, `probe`, `between_lines` and `follow` are called on the loop, the rest on any thread.

    Attributes:
        rewritten: how often a file was replaced by a new one; offsets in it no longer hold then.
        unreadable: the names of the files that `pass_over` was called for, and `readable` not since.
    """

    def __init__(self, directory: Path, keep_days: int, max_lag_days: int = 30) -> None:
        """
        Args:
            keep_days: how long a file is kept.
            max_lag_days: how long a file is kept at most if a follower holds it.
        """
        self.directory = directory
        self._expiry = Expiry(keep_days, max_lag_days)
        self._thread = ThreadPoolExecutor(1, "transcripts")
        self._doubtful: set[str] = set()
        """The names of the files of which it is unknown what is on the disk."""
        self._failed: dict[tuple[str, int], str] = {}
        """Id and part of each line whose writing failed last, and the name of the file that may have it."""
        self._written: dict[str, float] = {}
        """The monotonic seconds of the last line that this process wrote, by file."""
        self._settled: set[str] = set()
        """The names of the files whose lines from before the start are synced."""
        self._followers: list[Follower] = []
        self._irregular: set[str] = set()
        """The names of which it is in the log that they are no regular files."""
        self._growing = ""
        """The name of the file to which this process wrote last."""
        self.rewritten = 0
        self.unreadable: set[str] = set()

    def open(self) -> None:
        """Make the directory if it is missing. Raises CannotCreateError if that fails."""
        try:
            make_folder(self.directory)
        except OSError as error:
            raise CannotCreateError(
                f"the transcripts directory {str(self.directory)!r} cannot be used ({error.strerror})",
                "set publish.files.directory",
            ) from error

    def close(self) -> None:
        """Finish what is being written, and end the thread. Blocks until then."""
        self._thread.shutdown()

    async def append(self, final: Final, unix_s: float) -> None:
        """Write the line of a text and sync it, unless it is there already.

        Cancelling ends the wait; the line may still be written.

        Args:
            unix_s: the wall clock, in seconds; it determines the file.

        Raises:
            SpoolError: the disk refused it. The line does not count, and the text may be appended again.
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
        """Call a follower for each line from now on."""
        self._followers.append(follower)

    def unfollow(self, follower: Follower) -> None:
        """Call a follower no more."""
        self._followers.remove(follower)

    def limit_lag(self, max_lag_days: int) -> None:
        """Keep a file that a follower holds for so many days at most."""
        self._expiry.limit_lag(max_lag_days)

    async def between_lines(self, job: Callable[[], Done]) -> Done:
        """Run a short job on the thread that writes, where it never sees a half-written line, and return its result.

        Once it is called, the job runs, even if the caller is cancelled.
        """
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(job)))

    def names(self) -> list[str]:
        """Return the names of the files, oldest first. Raises OSError if the directory cannot be read.

        What is no regular file is not among them, because opening it may have no end. That is logged, once.
        """
        with os.scandir(self.directory) as entries:
            regular = {one.name: one.is_file(follow_symlinks=False) for one in entries if NAME.fullmatch(one.name)}
        for name in sorted(name for name, is_regular in regular.items() if not is_regular):
            if name not in self._irregular:
                self._irregular.add(name)
                log.warning("%s is passed over: it is no regular file; move it away", self.directory / name)
        return sorted(name for name, is_regular in regular.items() if is_regular)

    def settle(self, name: str) -> None:
        """Sync the lines of a file, for a job that reads it `between_lines`. Raises OSError.

        A process that was killed may have left lines that are not on the disk yet.
        """
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

    def pass_over(self, name: str, error: OSError) -> None:
        """Log, once, that a file cannot be read: a reader goes on with the others. Called on the thread that writes.

        Raises:
            OSError: `error`, if texts are written to this file now: nobody may go on without them.
        """
        if name == self._growing:
            raise error
        if name not in self.unreadable:
            self.unreadable.add(name)
            log.warning("%s is passed over: it cannot be read (%s)", name, error.strerror or error)

    def readable(self, name: str) -> None:
        """Note that a file can be read. Called on the thread that writes."""
        self.unreadable.discard(name)

    async def probe(self) -> None:
        """Check that a transcript could be written now, by writing, syncing and deleting a small file.

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
        what = f"the transcript cannot be written to {str(self.directory)!r} ({error.strerror})"
        return SpoolError(what, disk_hint(error, "publish.files.directory"))

    def ids(self) -> set[tuple[str, int]]:
        """Return id and part of every text that is durable. Reads all files, so it must not be called on the loop."""
        found: set[tuple[str, int]] = set()
        for path in self._files():
            try:
                with opened(path) as handle:
                    # Synced before it counts: a process that was killed may have left lines that are not on the disk.
                    # The caller deletes the audio of what is returned here, and a power cut would then lose both.
                    os.fsync(handle)
                    with open(handle, "rb", closefd=False) as lines:
                        found.update(ids_in(lines.read()))
            except OSError as error:
                log.warning("%s cannot be read (%s)", path.name, error.strerror)
                self._doubtful.add(path.name)
        return found

    def last_id(self) -> str | None:
        """Return the greatest id in the last lines of all files, or None: new ids must follow it despite the clock."""
        found: set[bytes] = set()
        for path in self._files():
            with contextlib.suppress(OSError), opened(path) as handle:
                start = max(0, os.fstat(handle).st_size - TAIL_BYTES)
                # Not decoded: the daemon is not ready before it has looked into all files.
                found.update(ID.findall(os.pread(handle, TAIL_BYTES, start)))
        return max(found).decode() if found else None

    def expire(self, unix_s: float, monotonic_s: float) -> None:
        """Delete the files of days that ended more than `keep_days` ago, but those that a follower holds only after
        `max_lag_days`. Meant to be called once an hour.

        Args:
            unix_s: the wall clock, in seconds.
            monotonic_s: a clock that does not leap, in seconds; see `core/retention.py` for why both are needed.
        """
        names = [path.name for path in self._files()]
        for name in self._expiry.due(names, self._written, self._is_held, unix_s=unix_s, monotonic_s=monotonic_s):
            self._thread.submit(self._delete, name).result()

    def _is_held(self, name: str) -> bool:
        return self._thread.submit(self._would_be_missed, name).result()

    def _would_be_missed(self, name: str) -> bool:
        return any(follower.holds(name) for follower in list(self._followers))

    def _delete(self, name: str) -> None:
        """Delete a file, after all followers had the chance to count what they miss."""
        for follower in list(self._followers):
            follower.expiring(name)
        with contextlib.suppress(OSError):
            (self.directory / name).unlink()
            log.info("deleted %s: older than %d days", name, self._expiry.keep_days)

    def _files(self) -> list[Path]:
        """Return the paths of the files, oldest first; none if the directory cannot be read."""
        try:
            return [self.directory / name for name in self.names()]
        except OSError:
            return []

    def _append(self, name: str, line: bytes, one: tuple[str, int]) -> None:
        """Append a line to a file unless `one`, its id and part, is there already. Raises OSError."""
        try:
            handle = self._open(name)
        except FileNotFoundError:  # somebody deleted the directory
            make_folder(self.directory)
            handle = self._open(name)
        self._growing = name
        try:
            if not self._stands(one, name):
                self._failed[one] = name
                if name in self._doubtful:
                    self._replace(name, line)
                else:
                    self._add(handle, name, line)
                    self._written[name] = time.monotonic()
            self._failed.pop(one, None)
        finally:
            os.close(handle)

    def _add(self, handle: int, name: str, line: bytes) -> None:
        """Write a line at the end of a file and sync it, or cut it off again. Raises OSError."""
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line  # a power cut tore the last line off: this one must not become a part of it
        in_doubt = True
        try:
            if size == 0:  # new, or left empty by a disk that was full
                # The name before the line: `_stands` finds a line that a failed attempt left and syncs the file only.
                # If its name were not durable yet, the text would count as written and a power cut could lose it.
                self._sync_directory()
            in_doubt = False  # a write that fails has written nothing, or what is cut off below
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
        """Open a file for reading and appending, and make it if it is missing. Raises OSError."""
        handle = os.open(self.directory / name, APPEND, 0o600)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        raise OSError(errno.EINVAL, f"{name} is no regular file")

    def _stands(self, one: tuple[str, int], today: str) -> bool:
        """Whether a line with this id and part is durable already. Raises OSError if today's file cannot be read.

        It is searched for in the last lines of today's file, of the one before, and of each file in doubt, which is
        rewritten first: what is read from it may be in the memory of the kernel only. If writing it failed before, it
        is searched for in all of that file, which others may have taken out of doubt since.
        """
        last = sorted(path.name for path in self._files() if path.name != today)[-1:]
        failed = self._failed.get(one)
        for name in {today, failed or today, *last, *self._doubtful}:
            try:
                with opened(self.directory / name) as handle:
                    size = os.fstat(handle).st_size
                    most = size if name == failed else TAIL_BYTES
                    if one not in ids_in(os.pread(handle, most, max(0, size - most))):
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
                log.debug("%s cannot be read (%s)", name, error.strerror)  # it must not block today's texts
        return False

    def _replace(self, name: str, line: bytes = b"") -> None:
        """Replace a file in doubt by a new one with its lines, each once, and `line`. Raises OSError."""
        path, new = self.directory / name, self.directory / (name + NEW)
        with opened(path) as handle, open(handle, "rb", closefd=False) as file:
            old = file.read()
        *pieces, last = old.split(b"\n")
        if ids_in(last):  # a line that lacks only its newline
            pieces.append(last)
        whole = b"".join(piece + b"\n" for piece in dict.fromkeys(pieces) if piece)
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        with open(os.open(new, REPLACE, 0o600), "wb") as written:
            written.write(whole + line)
            written.flush()
            os.fsync(written.fileno())  # before the rename: a power cut must not leave an empty file under the old name
        new.rename(path)
        self.rewritten += 1
        self._sync_directory()
        self._doubtful.discard(name)  # only now: until the name is synced, the old file could come back

    def _sync_directory(self) -> None:
        """Make the names in the directory durable. Raises OSError."""
        handle = os.open(self.directory, FOLDER)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
