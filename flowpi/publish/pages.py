"""Finds texts in the transcripts: a page of those that a client asks for, newest or oldest first.

The order is that of the transcripts: by day file, and in each as they were written.
"""

import os
from collections import deque
from collections.abc import Iterable

import msgspec

from flowpi.core.errors import SpoolError
from flowpi.core.ulid import is_ulid, ulid_unix_ms
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.lines import final_in, opened
from flowpi.publish.log_reader import PIECE_BYTES, LogReader
from flowpi.publish.messages import Final, TextId

PAGE_BYTES = 128 * 1024
"""The most text in one page, but for one that is longer: an answer must fit into the queue of a client."""


class Query(msgspec.Struct, frozen=True):
    """What a client looks for.

    Attributes:
        after: the text behind which the page begins, in the order that is asked for; None for the first page.
        limit: the most texts of the page.
        text: what is in the text, whatever the case of its letters; empty for anything.
        since_ms, until_ms: begun from the one Unix millisecond on, and before the other.
        newest: newest first.
    """

    after: TextId | None = None
    limit: int = 100
    text: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    newest: bool = False

    def wants(self, final: Final) -> bool:
        """Return whether a text is what the client looks for, in a query whose `text` is casefolded."""
        begun_ms = ulid_unix_ms(final.id) if is_ulid(final.id) else 0
        return (
            (self.since_ms is None or begun_ms >= self.since_ms)
            and (self.until_ms is None or begun_ms < self.until_ms)
            and self.text in final.text.casefold()
        )


class Page(msgspec.Struct):
    """What was found. `more`: there are others behind the last one."""

    texts: list[Final]
    more: bool


async def find(history: History, transcripts: Transcripts, query: Query) -> Page:
    """Return a page of texts.

    Raises:
        SpoolError: the transcripts cannot be read.
    """
    query = msgspec.structs.replace(query, text=query.text.casefold())  # once, and not for each text
    page = _Builder(query)
    reader = None if query.after is None else await history.search(query.after)
    if query.newest:
        await _find_newest(history, transcripts, reader, page)
    else:
        await _find_oldest(history, reader or LogReader(transcripts, {}), page)
    return page.result()


async def _find_oldest(history: History, reader: LogReader, page: "_Builder") -> None:
    """Fill a page with what a reader reads."""
    more = True
    while more and not page.full:
        piece = await history.run(reader.read)
        reader.commit(piece)
        page.add(text.final for text in piece.texts if page.query.wants(text.final))
        more = piece.more


async def _find_newest(history: History, transcripts: Transcripts, reader: LogReader | None, page: "_Builder") -> None:
    """Fill a page with what lies before the place of a reader; None: with the last texts."""
    try:
        names = await history.run(transcripts.names)
    except SpoolError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        names = []
    for name in reversed(names):
        end = None if reader is None else reader.place_in(name)
        if page.full or (reader is not None and end is None):  # a later file than that of `after`
            continue
        scan = _Scan(transcripts, name, None if end is None else end.offset, page.query)
        while not await history.run(scan.step):
            pass
        page.add(reversed(scan.found))


class _Builder:
    """A page that is being made. One text more than fits shows that there are more."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self._texts: list[Final] = []
        self._bytes = 0
        self.full = False

    def add(self, finals: Iterable[Final]) -> None:
        for final in finals:
            size = len(msgspec.json.encode(final))
            if self._texts and (len(self._texts) == self.query.limit or self._bytes + size > PAGE_BYTES):
                self.full = True
                return
            self._texts.append(final)
            self._bytes += size

    def result(self) -> Page:
        return Page(self._texts, self.full)


class _Scan:
    """Finds the last texts of a file that are wanted. `step` runs on the thread of the transcripts."""

    def __init__(self, transcripts: Transcripts, name: str, end: int | None, query: Query) -> None:
        """Look up to the offset `end`; None for all of the file."""
        self.found: deque[Final] = deque(maxlen=query.limit + 1)
        self._transcripts = transcripts
        self._name = name
        self._end = end
        self._query = query
        self._offset: int | None = None

    def step(self) -> bool:
        """Look on for a moment. Return whether that was all. Raises OSError."""
        try:
            if self._offset is None:
                self._transcripts.settle(self._name)
                self._offset = 0
            with opened(self._transcripts.directory / self._name) as handle, open(handle, "rb", closefd=False) as lines:
                end = os.fstat(handle).st_size if self._end is None else self._end
                lines.seek(self._offset)
                stop = min(end, self._offset + PIECE_BYTES)
                while self._offset < stop and (line := lines.readline()):
                    self._offset += len(line)
                    final = final_in(line)
                    if final is None or TextId(final.id, final.part) == self._query.after:
                        continue
                    if self._query.wants(final):
                        self.found.append(final)
        except FileNotFoundError:  # it has expired
            return True
        except OSError as error:
            self._transcripts.pass_over(self._name, error)
            return True
        return self._offset >= end or self._offset < stop  # or somebody has cut it off
