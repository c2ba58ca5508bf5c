"""The place of a durable sink in the transcripts: which texts it has, and which one comes next.

The place is kept as (id, part) of the last text that the sink has, for each day file: a clock that went back makes the
transcripts grow in an earlier file, which a single place would have left behind. A sink that has no position yet
begins at the end of what is there.

The position is on the disk before the next text is read. A process killed between a write and that sync gives the sink
this one text again.
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
    id: str
    part: int


class _Place(msgspec.Struct, frozen=True):
    """Where in a file to read on."""

    inode: int
    offset: int


class _Found(msgspec.Struct, frozen=True):
    name: str
    final: Final
    behind: _Place


class Cursor:
    """`next` gives a text until `passed` is called. What touches the disk runs between two lines of the transcripts.

    Attributes:
        missed: how many texts expired before the sink took them.
    """

    def __init__(self, path: Path, transcripts: Transcripts) -> None:
        """`path`: of the position file."""
        self.missed = 0
        self._path = path
        self._transcripts = transcripts
        self._marks: dict[str, Mark | None] | None = None
        """The last text of each file that the sink has; None until that is known."""
        self._places: dict[str, _Place] = {}
        """The same as offsets, as far as they were needed."""
        self._rewritten = 0
        self._found: _Found | None = None
        self._news = asyncio.Event()
        transcripts.follow(self)

    async def next(self) -> Final:
        """Wait for the first text that the sink does not have. Raises SinkError if it cannot be read."""
        while self._found is None:
            self._news.clear()
            try:
                self._found = await self._transcripts.between_lines(self._find)
            except OSError as error:
                raise SinkError(f"the next text cannot be read ({error.strerror or error})") from error
            if self._found is None:
                await self._news.wait()
        return self._found.final

    async def passed(self) -> None:
        """The sink has the text of `next`. Raises SinkError if the position cannot be written: call it again."""
        found = self._found
        assert found is not None
        try:
            await self._transcripts.between_lines(partial(self._pass, found))
        except OSError as error:
            hint = "free some space on its disk"
            raise SinkError(f"{str(self._path)!r} cannot be written ({error.strerror})", hint) from error
        self._found = None  # not before, and here: whoever is cancelled above calls it again

    def appended(self) -> None:
        self._news.set()

    def expiring(self, name: str) -> None:
        """Count the texts of a file that the sink will not get."""
        missed = 0
        with contextlib.suppress(OSError), self._file(name) as (lines, start):
            lines.seek(start)
            missed = sum(_final(line) is not None for line in lines)
        if self._found is not None and self._found.name == name:
            missed -= 1  # it is in memory
        if missed > 0:
            self.missed += missed
            log.warning("%s expires before %s has %d texts of it", name, self._path.stem, missed)
        self._places.pop(name, None)
        if self._marks is not None:
            self._marks.pop(name, None)

    # On the thread of the transcripts.

    def _find(self) -> _Found | None:
        if self._marks is None:
            self._marks = self._load()
        if self._rewritten != self._transcripts.rewritten:
            self._rewritten = self._transcripts.rewritten
            self._places.clear()
        unread: OSError | None = None
        try:
            names = self._transcripts.names()
        except FileNotFoundError:  # somebody tidied up
            return None
        for name in names:
            try:
                if (found := self._find_in(name)) is not None:
                    return found
            except FileNotFoundError:
                continue
            except OSError as error:  # a file that is damaged must not keep the others' texts back
                unread = error
        if unread is not None:
            raise unread
        return None

    def _find_in(self, name: str) -> _Found | None:
        status = os.stat(self._transcripts.directory / name)
        if self._places.get(name) == _Place(status.st_ino, status.st_size):
            return None
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
        """A file, and where to read on in it."""
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            status, place = os.fstat(handle), self._places.get(name)
            if place is not None and place.inode == status.st_ino and place.offset <= status.st_size:
                yield lines, place.offset
            else:
                yield lines, _behind(lines, (self._marks or {}).get(name), name)

    def _pass(self, found: _Found) -> None:
        assert self._marks is not None
        self._marks[found.name] = Mark(found.final.id, found.final.part)
        self._save(self._marks)
        self._places[found.name] = found.behind

    def _load(self) -> dict[str, Mark | None]:
        try:
            return _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("%s is damaged: the sink goes on with the texts from now on (%s)", self._path, error)
        marks = {name: self._last(name) for name in self._transcripts.names()}
        self._save(marks)
        return marks

    def _last(self, name: str) -> Mark | None:
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            last = None
            for line in lines:
                last = _final(line) or last
        return last and Mark(last.id, last.part)

    def _save(self, marks: dict[str, Mark | None]) -> None:
        make_folder(self._path.parent)
        replace_file(self._path, msgspec.json.encode(marks) + b"\n", 0o600)


def _behind(lines: BinaryIO, mark: Mark | None, name: str) -> int:
    """The offset behind the text of a mark. If somebody took it out: that of the first text begun later."""
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
    try:
        return _finals.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


_finals = msgspec.json.Decoder(Final)
_decoder = msgspec.json.Decoder(dict[str, Mark | None])
