"""The transcripts as files: `YYYY-MM-DD.jsonl`, one `transcript/final` payload a line.

The line is synced before the utterance counts as delivered; its spool file is deleted only then. Whoever starts after
a crash asks `ids` what got that far.
"""

import asyncio
import contextlib
import datetime
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from flowpi.core.errors import CannotCreateError, SpoolError
from flowpi.core.text import escaped
from flowpi.publish.messages import Final

log = logging.getLogger(__name__)

NAME = re.compile(r"\d{4}-\d\d-\d\d\.jsonl")


class _Id(msgspec.Struct):
    id: str
    part: int


class Transcripts:
    def __init__(self, directory: Path, keep_days: int) -> None:
        self.directory = directory
        self._keep_days = keep_days
        self._thread = ThreadPoolExecutor(1, "transcripts")

    def open(self) -> None:
        """Raises CannotCreateError if the directory cannot be made."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CannotCreateError(
                f"the transcripts directory {str(self.directory)!r} cannot be used ({error.strerror})",
                "set publish.files.directory",
            ) from error

    def close(self) -> None:
        """After what is being written is written."""
        self._thread.shutdown()

    async def append(self, final: Final, unix_s: float) -> None:
        """Write the line and sync it. `unix_s`: now, which names the file.

        Raises:
            SpoolError: the disk does not take it; nothing of the line stays.
        """
        day = datetime.datetime.fromtimestamp(unix_s, datetime.UTC).date()
        line = escaped(msgspec.json.encode(final)) + b"\n"
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._append, day, line)
        except OSError as error:
            raise SpoolError(
                f"the transcript cannot be written to {str(self.directory)!r} ({error.strerror})",
                "free some space on its disk, or set publish.files.directory",
            ) from error

    def ids(self) -> set[tuple[str, int]]:
        """Id and part of every transcript there is. Reads all files: any thread but the loop's."""
        found: set[tuple[str, int]] = set()
        decoder = msgspec.json.Decoder(_Id)
        for path in self._files():
            try:
                lines = path.read_bytes().splitlines()
            except OSError as error:
                log.warning("%s cannot be read (%s)", path.name, error.strerror)
                continue
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError, ValueError):
                    one = decoder.decode(line)
                    found.add((one.id, one.part))
        return found

    def _files(self) -> list[Path]:
        try:
            return [path for path in self.directory.iterdir() if NAME.fullmatch(path.name) and path.is_file()]
        except OSError:
            return []

    def _append(self, day: datetime.date, line: bytes) -> None:
        path = self.directory / f"{day}.jsonl"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(path, flags, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size == 0:  # new, or left empty by a disk that was full
                self._sync_directory()  # first: a line that is there counts as written
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line  # a power cut tore the last line: it must not swallow this one
            try:
                if os.write(handle, line) != len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)
        if size == 0:
            self._delete_old(day)

    def _sync_directory(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _delete_old(self, today: datetime.date) -> None:
        """Once a day: files older than `keep_days`, by their name.

        Not if all others are that old: then the clock may be wrong, and the next day with a transcript will tell.
        """
        oldest = f"{today - datetime.timedelta(days=self._keep_days)}.jsonl"
        others = [path for path in self._files() if path.name != f"{today}.jsonl"]
        if all(path.name < oldest for path in others):
            return
        for path in others:
            if path.name < oldest:
                with contextlib.suppress(OSError):
                    path.unlink()
                    log.info("deleted %s: older than %d days", path.name, self._keep_days)
