"""The position of a durable sink in the transcripts: which texts it has, and which one comes next.

The position is the (id, part) of the last text that the sink has, for each day file: after the clock was set back, the
transcripts grow in an earlier file, which a single position would have passed already. A sink without a position begins
at the end of the transcripts.

The position is on the disk before the next text is read. If the process is killed between a write and that sync, the
sink receives this one text again; the other order would lose it.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec

from flowpi.core.errors import SinkError
from flowpi.host.folders import make_folder, replace_file
from flowpi.publish.files import Transcripts, opened
from flowpi.publish.messages import Final

log = logging.getLogger(__name__)


class Mark(msgspec.Struct, frozen=True):
    """The last text of a day file that a sink has."""

    id: str
    part: int


class _Place(msgspec.Struct, frozen=True):
    """Where to go on reading in a file. It holds only while the file is the same."""

    inode: int
    offset: int


class _Found(msgspec.Struct, frozen=True):
    """The next text, the name of its file, and the place behind it."""

    name: str
    final: Final
    behind: _Place


class Cursor:
    """Reads the transcripts for one sink. `next` returns the same text until `passed` is called.

    What touches the disk runs between two lines of the transcripts.

    Attributes:
        missed: the number of texts that expired before the sink had them.
    """

    def __init__(self, path: Path, transcripts: Transcripts) -> None:
        """Read `transcripts` from the position in the file `path` on; the file is made if it is missing."""
        self.missed = 0
        self._path = path
        self._transcripts = transcripts
        self._marks: dict[str, Mark | None] | None = None
        """The last text of each file that the sink has; None until the position file is read."""
        self._places: dict[str, _Place] = {}
        """The same positions as offsets, as far as they are known."""
        self._rewritten = 0
        self._found: _Found | None = None
        self._news = asyncio.Event()
        transcripts.follow(self)

    async def open(self) -> None:
        """Note where the sink begins, if that is not known yet, so that every text from now on waits for it.

        Raises:
            SinkError: the position cannot be read or written.
        """
        try:
            await self._transcripts.between_lines(self._read_position)
        except OSError as error:
            raise SinkError(f"{str(self._path)!r} cannot be used ({error.strerror or error})") from error

    async def next(self) -> Final:
        """Wait for the first text that the sink does not have. Cancelling loses nothing.

        Raises:
            SinkError: it cannot be read.
        """
        while self._found is None:
            self._news.clear()  # before the look: a line appended during it leads to another look
            try:
                self._found = await self._transcripts.between_lines(self._find)
            except OSError as error:
                raise SinkError(f"the next text cannot be read ({error.strerror or error})") from error
            if self._found is None:
                await self._news.wait()
        return self._found.final

    async def passed(self) -> None:
        """Note, durably, that the sink has the text of `next`.

        Raises:
            SinkError: the position cannot be written: call it again, also after it was cancelled.
        """
        found = self._found
        assert found is not None
        try:
            await self._transcripts.between_lines(partial(self._pass, found))
        except OSError as error:
            hint = "free some space on its disk"
            raise SinkError(f"{str(self._path)!r} cannot be written ({error.strerror})", hint) from error
        self._found = None  # only once the position is on the disk: a caller that is cancelled above calls again

    def appended(self) -> None:
        """Wake `next`: there is another line."""
        self._news.set()

    def expiring(self, name: str) -> None:
        """Count the texts of a file that the sink will not receive."""
        missed = 0
        with contextlib.suppress(OSError), self._file(name) as (lines, start):
            lines.seek(start)
            missed = sum(_final(line) is not None for line in lines)
        if self._found is not None and self._found.name == name:
            missed -= 1  # the next text is in memory already
        if missed > 0:
            self.missed += missed
            log.warning("%s expires before %s has %d texts of it", name, self._path.stem, missed)
        self._places.pop(name, None)
        if self._marks is not None:
            self._marks.pop(name, None)

    # On the thread of the transcripts.

    def _read_position(self) -> None:
        """Raises OSError."""
        if self._marks is None:
            self._marks = self._load()

    def _find(self) -> _Found | None:
        """Return the first text behind the position, from the oldest file on. Raises OSError."""
        self._read_position()
        assert self._marks is not None
        if self._rewritten != self._transcripts.rewritten:
            self._rewritten = self._transcripts.rewritten
            self._places.clear()
        unread: OSError | None = None
        try:
            names = self._transcripts.names()
        except FileNotFoundError:  # somebody deleted the directory
            return None
        for name in names:
            try:
                if (found := self._find_in(name)) is not None:
                    return found
            except FileNotFoundError:
                continue
            except OSError as error:  # a damaged file must not block the texts of the others
                unread = error
        if unread is not None:
            raise unread
        return None

    def _find_in(self, name: str) -> _Found | None:
        """Return the first text of a file behind the position, or None. Raises OSError."""
        status = os.stat(self._transcripts.directory / name)
        if self._places.get(name) == _Place(status.st_ino, status.st_size):
            return None
        # Synced before it is read: a sink must not have a text that a power cut takes away from the transcripts.
        self._transcripts.settle(name)
        with self._file(name) as (lines, offset):
            inode = os.fstat(lines.fileno()).st_ino
            lines.seek(offset)
            for line in lines:
                final = _final(line)
                offset += len(line)
                if final is not None:
                    return _Found(name, final, _Place(inode, offset))
            self._places[name] = _Place(inode, offset)
        return None

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """Open a file for the length of a block, with the offset at which to go on reading."""
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            status, place = os.fstat(handle), self._places.get(name)
            if place is not None and place.inode == status.st_ino and place.offset <= status.st_size:
                yield lines, place.offset
            else:
                yield lines, _behind(lines, (self._marks or {}).get(name), name)

    def _pass(self, found: _Found) -> None:
        """Move the position behind a text, on the disk first and then in memory."""
        assert self._marks is not None
        self._marks[found.name] = Mark(found.final.id, found.final.part)
        self._save(self._marks)
        self._places[found.name] = found.behind

    def _load(self) -> dict[str, Mark | None]:
        """Read the position file; without a readable one, begin at the end of all files. Raises OSError."""
        try:
            return _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("%s is damaged: the sink goes on with the texts from now on (%s)", self._path, error)
        marks = {name: self._last(name) for name in self._transcripts.names()}
        # Saved at once: a restart before the first text would otherwise begin at a later end, and miss what is between.
        self._save(marks)
        return marks

    def _last(self, name: str) -> Mark | None:
        """Return the last text of a file, or None if there is none in it."""
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            last = None
            for line in lines:
                last = _final(line) or last
        return last and Mark(last.id, last.part)

    def _save(self, marks: dict[str, Mark | None]) -> None:
        """Write the position file durably. Raises OSError; then the old one is still there, or the new one."""
        make_folder(self._path.parent)
        replace_file(self._path, msgspec.json.encode(marks) + b"\n", 0o600)


def _behind(lines: BinaryIO, mark: Mark | None, name: str) -> int:
    """Return the offset behind the text of a mark, or behind nothing if `mark` is None.

    If somebody removed that text from the file, this is the offset of the first text that was begun later.
    """
    offset, later = 0, None
    if mark is None:
        return 0
    for line in lines:
        if (final := _final(line)) is not None:
            if (final.id, final.part) == (mark.id, mark.part):
                return offset + len(line)
            if later is None and (final.id, final.part) > (mark.id, mark.part):
                later = offset
        offset += len(line)
    log.warning("%s no longer has the text that a sink took last", name)
    return offset if later is None else later


def _final(line: bytes) -> Final | None:
    """Return the text in a line, or None if there is none."""
    try:
        return _finals.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


_finals = msgspec.json.Decoder(Final)
_decoder = msgspec.json.Decoder(dict[str, Mark | None])
