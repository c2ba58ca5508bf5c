"""Reads the transcripts behind a text in each file. `cursor.py` reads so for a sink, `history.py` for a client.

There is a position for each day file: after the clock was set back, the transcripts grow in an earlier file, which a
single position would have passed already. A position is the id and part of a text. The offset behind it is known too,
but holds only while the file is the same.

Reading does not move the position; `commit` does, so that a caller can do first what must not be lost.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from flowpi.publish.files import Transcripts
from flowpi.publish.lines import final_in, opened
from flowpi.publish.messages import Final, TextId

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 18
"""The most that is read at once: the thread that reads is the one that writes, and a text must not wait for long."""


LOOK_BYTES = 1 << 12
"""How much of the end of a file is searched first for its last text: most lines are shorter."""


class Place(msgspec.Struct, frozen=True):
    """Where to go on reading in a file."""

    inode: int
    offset: int


class Text(msgspec.Struct, frozen=True):
    """A text that was read, with the name of its file and its line without the newline."""

    name: str
    final: Final
    line: bytes

    @property
    def id(self) -> TextId:
        return TextId(self.final.id, self.final.part)


class Piece(msgspec.Struct, frozen=True):
    """What was read at once.

    Attributes:
        texts: in order.
        places: where the reading goes on.
        more: whether there is more to read.
    """

    texts: list[Text]
    places: dict[str, Place]
    more: bool


class LogReader:
    """A reader of the transcripts. Its methods run on the thread of the transcripts; `commit` may run on the loop.

    Attributes:
        marks: the text of each file behind which it reads; None for the beginning, as in a file that is missing here.
    """

    def __init__(
        self, transcripts: Transcripts, marks: dict[str, TextId | None], places: dict[str, Place] | None = None
    ) -> None:
        """`places`: the same positions, as far as they are known."""
        self.marks = marks
        self._transcripts = transcripts
        self._places = places or {}
        self._rewritten = transcripts.rewritten

    def at_same_place(self, other: "LogReader") -> bool:
        """Whether another reader reads the same texts next. False is no proof: read on and ask again."""
        return self._readable_places() == other._readable_places() and self._rewritten == other._rewritten

    def _readable_places(self) -> dict[str, Place]:
        unreadable = self._transcripts.unreadable
        return {name: place for name, place in self._places.items() if name not in unreadable}

    def place_in(self, name: str) -> Place | None:
        """Return where the reading goes on in a file, or None if it begins there at the beginning."""
        return self._places.get(name)

    def read(self, most_texts: int | None = None, most_bytes: int = PIECE_BYTES) -> Piece:
        """Return the next texts, from the oldest file on; at least one, if there is one and not `more`.

        A file that cannot be read is passed over, but not the one to which texts are written now.

        Raises:
            OSError: none can be read, though there may be some.
        """
        if self._rewritten != self._transcripts.rewritten:
            self._rewritten = self._transcripts.rewritten
            self._places.clear()
        piece, unread, left = Piece([], {}, False), None, most_bytes
        try:
            names = self._transcripts.names()
        except FileNotFoundError:  # somebody deleted the directory
            return piece
        for name in [name for name in self._places if name not in names]:
            del self._places[name]
        for name in names:
            try:
                left -= self._read_in(name, piece, most_texts, left)
            except FileNotFoundError:
                continue
            except OSError as error:  # a damaged file must not block the texts of the others
                try:
                    self._transcripts.pass_over(name, error)
                except OSError:
                    unread = error
            if left <= 0 or len(piece.texts) == most_texts:
                return msgspec.structs.replace(piece, more=True)
        if unread is not None and not piece.texts:
            raise unread
        return piece

    def commit(self, piece: Piece) -> None:
        """Move the position behind all that was read at once."""
        self.marks.update((text.name, text.id) for text in piece.texts)
        self._places.update(piece.places)

    def move(self, marks: dict[str, TextId | None]) -> None:
        """Move the position in some files behind other texts."""
        self.marks.update(marks)
        for name in marks:
            self._places.pop(name, None)

    def forget(self, name: str) -> None:
        """Forget a file that is deleted."""
        self._places.pop(name, None)
        self.marks.pop(name, None)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[tuple[BinaryIO, Place]]:
        """Open a file for the length of a block, at the place where to go on reading. Raises OSError."""
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            status, place = os.fstat(handle), self._places.get(name)
            if place is None or place.inode != status.st_ino or place.offset > status.st_size:
                place = Place(status.st_ino, _behind(lines, self.marks.get(name), name))
            lines.seek(place.offset)
            self._transcripts.readable(name)
            yield lines, place

    def _read_in(self, name: str, piece: Piece, most_texts: int | None, most_bytes: int) -> int:
        """Add the next texts of a file to a piece. Return how many bytes that read. Raises OSError."""
        status = os.stat(self._transcripts.directory / name)
        if self._places.get(name) == Place(status.st_ino, status.st_size):
            return 0
        # Synced before it is read: nobody must have a text that a power cut takes away from the transcripts.
        self._transcripts.settle(name)
        with self.file(name) as (lines, start):
            offset = start.offset
            for line in lines:
                offset += len(line)
                if (final := final_in(line)) is not None:
                    piece.texts.append(Text(name, final, line.rstrip(b"\n")))
                if len(piece.texts) == most_texts or offset - start.offset >= most_bytes:
                    break
            piece.places[name] = Place(start.inode, offset)
        return offset - start.offset


def last_in(transcripts: Transcripts, name: str) -> TextId | None:
    """Return the last text of a file, or None if there is none in it. Raises OSError."""
    with opened(transcripts.directory / name) as handle:
        start = size = os.fstat(handle).st_size
        look = LOOK_BYTES
        while start:  # from the end on: the daemon is not ready before it has looked into all files
            start = max(0, size - look)
            lines = os.pread(handle, look, start).split(b"\n")
            for line in reversed(lines[1:] if start else lines):  # the first may be the rest of one
                if (last := final_in(line)) is not None:
                    return TextId(last.id, last.part)
            look *= 4
    return None


def _behind(lines: BinaryIO, mark: TextId | None, name: str) -> int:
    """Return the offset behind the text of a mark, or behind nothing if `mark` is None.

    If somebody removed that text from the file, this is the offset of the first text that was begun later.
    """
    offset, later = 0, None
    if mark is None:
        return 0
    for line in lines:
        if (final := final_in(line)) is not None:
            if (final.id, final.part) == (mark.id, mark.part):
                return offset + len(line)
            if later is None and (final.id, final.part) > (mark.id, mark.part):
                later = offset
        offset += len(line)
    log.warning("%s no longer has the text that a reader had last", name)
    return offset if later is None else later
