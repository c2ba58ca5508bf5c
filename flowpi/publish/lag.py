"""How far a sink is behind the transcripts."""

import os
from collections.abc import Callable

import msgspec

from flowpi.publish.files import Transcripts
from flowpi.publish.lines import final_in
from flowpi.publish.log_reader import PIECE_BYTES, LogReader, Text
from flowpi.publish.messages import Final


class _Counted(msgspec.Struct):
    """How many texts of a file wait before an offset."""

    inode: int
    offset: int
    waiting: int


class Lag:
    """Counts the texts behind the position of a reader. Each text is counted once, when it is looked at first.

    All methods run on the thread of the transcripts.
    """

    def __init__(self, transcripts: Transcripts, reader: LogReader, wants: Callable[[Final], bool]) -> None:
        """`wants`: returns whether a text counts."""
        self._transcripts = transcripts
        self._reader = reader
        self._wants = wants
        self._rewritten = 0
        self._files: dict[str, _Counted] = {}

    @property
    def waiting(self) -> int:
        """How many texts wait, as far as they are counted."""
        return sum(counted.waiting for counted in self._files.values())

    def passed(self, text: Text) -> None:
        """Count a text no more."""
        if text.name in self._files:
            self._files[text.name].waiting -= self._wants(text.final)

    def count(self) -> bool:
        """Count on, for a moment. Return whether all is counted. Raises OSError."""
        if self._rewritten != self._transcripts.rewritten:
            self._rewritten = self._transcripts.rewritten
            self._files.clear()
        try:
            names = self._transcripts.names()
        except FileNotFoundError:
            names = []
        self._files = {name: counted for name, counted in self._files.items() if name in names}
        return all(self._count_in(name) for name in names)

    def _count_in(self, name: str) -> bool:
        """Count on in a file. Return whether its end is reached, or it is passed over. Raises OSError."""
        try:
            status = os.stat(self._transcripts.directory / name)
            counted = self._files.get(name)
            if counted is not None and counted.inode == status.st_ino and counted.offset == status.st_size:
                return True
            with self._reader.file(name) as (lines, place):
                if counted is None or counted.inode != place.inode or counted.offset < place.offset:
                    counted = self._files[name] = _Counted(place.inode, place.offset, 0)
                end = counted.offset + PIECE_BYTES
                lines.seek(counted.offset)
                for line in lines:
                    counted.offset += len(line)
                    counted.waiting += (final := final_in(line)) is not None and self._wants(final)
                    if counted.offset >= end:
                        return False
        except FileNotFoundError:
            self._files.pop(name, None)
        except OSError as error:
            self._files.pop(name, None)
            self._transcripts.pass_over(name, error)
        return True
