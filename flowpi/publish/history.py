"""Gives clients of the socket the final texts behind a given one, without a gap and without a double.

A client reads the transcripts until nothing is left (`replay.py`), and joins then those who receive what is appended.
They share one reader, the tail: a crowd costs the disk no more than one. A client may join when it stands where the
tail stands, which is asked and done in one turn of the loop. So nothing comes between its last text from the files and
the first one of the tail, and what it has is not sent again.

All reading is done in small pieces on the thread of the transcripts, one after the other in the order of the requests,
so that a text never waits for more than one of them before it is written.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from flowpi.core.errors import SpoolError
from flowpi.host.disk_hints import disk_hint
from flowpi.publish import shares
from flowpi.publish.files import Transcripts
from flowpi.publish.log_reader import LogReader, Piece
from flowpi.publish.log_search import LogSearch
from flowpi.publish.messages import TextId

Done = TypeVar("Done")

REPLAY_BYTES = 16 * 1024
"""How much of the transcripts a client is sent at once: a thousand clients that do not read hold 16 MB."""


class Listener(Protocol):
    """A client that receives what is appended. Called on the loop; neither method may wait."""

    def receive(self, piece: Piece) -> None:
        """Send texts."""

    def fail(self, error: SpoolError) -> None:
        """Nothing more comes, because the transcripts cannot be read."""


class History:
    """The transcripts for the clients of the socket. All methods are called on the loop."""

    def __init__(self, transcripts: Transcripts) -> None:
        self._transcripts = transcripts
        self._turn = asyncio.Lock()
        self._tail: LogReader | None = None
        """Where the listeners stand; None if there are none."""
        self._listeners: dict[Listener, None] = {}
        self._unread = False
        """Whether the tail may have something to read."""
        self._reading: asyncio.Task[None] | None = None
        transcripts.follow(self)

    async def search(self, after: TextId, *, set_back: bool = False) -> LogReader:
        """Return a reader behind a text; if there is no such text, one before the first text that was begun later.

        Args:
            set_back: whether it also reads the texts of earlier files from the first one on that was begun later. Then
                it misses none that was written there because the clock was set back, and may read some again.

        Raises:
            SpoolError: the transcripts cannot be read.
        """
        search = LogSearch(self._transcripts, after, set_back=set_back)
        while (reader := await self.run(search.step)) is None:
            pass
        return reader

    async def read(self, reader: LogReader) -> Piece:
        """Return what a reader reads next. Raises SpoolError."""
        return await self.run(lambda: reader.read(most_bytes=REPLAY_BYTES))

    async def run(self, job: Callable[[], Done]) -> Done:
        """Run a short job between two lines, when those before it had their turn. Raises SpoolError for OSError."""
        async with self._turn:
            try:
                return await self._transcripts.between_lines(job)
            except OSError as error:
                where = str(self._transcripts.directory)
                what = f"the transcripts in {where!r} cannot be read ({error.strerror or error})"
                raise SpoolError(what, disk_hint(error)) from error

    def join(self, reader: LogReader, listener: Listener) -> bool:
        """Let a listener receive what is appended, if its reader has found nothing more and stands where the tail does.

        Returns:
            Whether it does. If not, call `catch_up`, read on, and try again.
        """
        if self._tail is None:
            self._tail = reader
        elif not self._tail.at_same_place(reader):
            return False
        self._listeners[listener] = None
        self._go_on()  # something may have been appended since the reader found nothing
        return True

    async def catch_up(self) -> None:
        """Wait until the tail has read what was appended before."""
        await asyncio.shield(self._go_on())

    def leave(self, listener: Listener) -> None:
        """Send nothing more to a listener. Harmless if it has left, or never joined."""
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._tail = None

    # For the transcripts.

    def appended(self) -> None:
        if self._listeners:
            self._go_on()

    def holds(self, name: str) -> bool:
        return False

    def expiring(self, name: str) -> None:
        pass

    # The tail.

    def _go_on(self) -> asyncio.Task[None]:
        self._unread = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_tail(), name="history")
        return self._reading

    async def _read_tail(self) -> None:
        """Read what was appended, and send it to all listeners."""
        while self._unread and (tail := self._tail) is not None:
            self._unread = False
            try:
                piece = await self.read(tail)
            except SpoolError as error:
                self._fail(error)
                return
            if self._tail is not tail:  # all left meanwhile, and others came
                self._unread = True
                continue
            tail.commit(piece)
            self._unread = self._unread or piece.more
            if piece.texts:
                await self._send(piece)

    async def _send(self, piece: Piece) -> None:
        """Send texts to all listeners, for `shares.TURN_S` in each turn of the loop."""
        loop = asyncio.get_running_loop()
        end = loop.time() + shares.TURN_S
        # Those who stood where the tail stood. It was moved in this same turn: who joins from now on has these texts.
        for listener in list(self._listeners):
            if loop.time() >= end:
                await asyncio.sleep(0)
                end = loop.time() + shares.TURN_S
            if listener in self._listeners:  # it may have left in between
                listener.receive(piece)

    def _fail(self, error: SpoolError) -> None:
        listeners, self._listeners, self._tail = self._listeners, {}, None
        for listener in listeners:
            listener.fail(error)
