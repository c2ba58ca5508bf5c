"""Finds a text in the transcripts, a piece of them at a time."""

import os

from flowpi.publish.files import Transcripts
from flowpi.publish.lines import final_in, opened
from flowpi.publish.log_reader import PIECE_BYTES, LogReader, Place
from flowpi.publish.messages import TextId


class LogSearch:
    """The search for one text, from the oldest file on. Runs on the thread of the transcripts.

    Of files before the one in which the text is, the reader that is returned reads what is appended after the search
    has looked at them, and of later files everything.
    """

    def __init__(self, transcripts: Transcripts, after: TextId, *, set_back: bool = False) -> None:
        """
        Args:
            set_back: whether the reader begins in each file before that of the text at the first one that was begun
                later: after the clock was set back, it may have been written there later than `after`.
        """
        self._transcripts = transcripts
        self._after = after
        self._set_back = set_back
        self._begin()

    def _begin(self) -> None:
        self._rewritten = self._transcripts.rewritten
        self._names: list[str] | None = None
        self._at = 0
        self._place: Place | None = None
        self._mark: TextId | None = None
        self._marks: dict[str, TextId | None] = {}
        self._places: dict[str, Place] = {}
        """Where to begin in each file that was searched."""
        self._first_later: tuple[Place, TextId | None] | None = None
        """Where the first text of this file is that was begun later, and the text before it."""
        self._later: LogReader | None = None
        """Before the first text that was begun later."""

    def step(self) -> LogReader | None:
        """Search on for a moment. Return a reader behind the text, or None if there is more to search.

        Raises:
            OSError: the directory cannot be read, or the file to which texts are written now.
        """
        if self._rewritten != self._transcripts.rewritten:
            self._begin()  # offsets that were noted no longer hold
        if self._names is None:
            try:
                self._names = self._transcripts.names()
            except FileNotFoundError:
                self._names = []
        if self._at == len(self._names):
            return self._later or self._reader()
        try:
            return self._search_in(self._names[self._at])
        except FileNotFoundError:  # it has expired meanwhile
            self._next_file()
            return None
        except OSError as error:
            name = self._names[self._at]
            self._transcripts.pass_over(name, error)
            self._places.pop(name, None)
            self._marks[name] = self._after  # should it become readable: from the first text that was begun later on
            self._next_file()
            return None

    def _search_in(self, name: str) -> LogReader | None:
        if self._place is None:
            self._transcripts.settle(name)
        with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
            place = self._place or Place(os.fstat(handle).st_ino, 0)
            offset = place.offset
            lines.seek(offset)
            for line in lines:
                final = final_in(line)
                if (
                    final is not None
                    and self._first_later is None
                    and (final.id, final.part) > (self._after.id, self._after.part)
                ):
                    self._first_later = Place(place.inode, offset), self._mark
                    self._later = self._later or self._reader(name, *self._first_later)
                offset += len(line)
                if final is not None:
                    self._mark = TextId(final.id, final.part)
                    if self._mark == self._after:
                        return self._reader(name, Place(place.inode, offset), self._mark)
                if offset - place.offset >= PIECE_BYTES:
                    self._place = Place(place.inode, offset)
                    return None
        self._places[name], self._marks[name] = Place(place.inode, offset), self._mark
        if self._set_back and self._first_later is not None:
            self._places[name], self._marks[name] = self._first_later
        self._next_file()
        return None

    def _next_file(self) -> None:
        self._at += 1
        self._place = self._mark = self._first_later = None

    def _reader(self, name: str = "", place: Place | None = None, mark: TextId | None = None) -> LogReader:
        """Return a reader at a place in a file; of the files before it, at what was found in them."""
        here = {} if place is None else {name: place}
        marks = {**self._marks, **({} if place is None else {name: mark})}
        return LogReader(self._transcripts, marks, {**self._places, **here})
