"""One sink, from its first opening to the stop: it is made, opened, fed, and opened again after a failure.

While a sink accepts nothing, the fault `sink.NAME` stands, and the waits between two attempts grow. It misses the live
messages of that time; a durable sink receives each final text later, from the transcripts (`text_feed.py`). While there
are texts that it will not receive by itself, the fault `undelivered.NAME` stands.
"""

import asyncio
import contextlib
import enum
import logging
import time
from collections.abc import Callable
from pathlib import Path

from flowpi.core.backoff import Backoff
from flowpi.core.errors import FlowpiError, SinkError
from flowpi.core.faults import SINK_FAMILY, UNDELIVERED_FAMILY
from flowpi.host.logfields import fields
from flowpi.publish.cursor import Behind, Cursor
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final, ParkedText, Partial, SinkPayload, rfc3339
from flowpi.publish.positions import Positions
from flowpi.publish.sinks import Sink, WatchedSink
from flowpi.publish.text_feed import TextFeed

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""The bounds of the waits between two attempts, see `Backoff`."""

PATIENCE_S = 30.0
"""The longest time that opening a sink, or writing a text to it, may need."""

CLOSE_S = 1.0
"""The longest time that closing a sink may need, and at the stop the text that is being written to it."""


class State(enum.StrEnum):
    """What a sink is doing."""

    OPENING = "opening"
    OPEN = "open"
    FAILING = "failing"
    """An error stands, and it is tried again."""
    CLOSED = "closed"


class Outlet:
    """Where the feeders report, and what they read: the same for all.

    Attributes:
        fault: called with the code and message of a fault.
        clear: called with the code of a fault when it is over, and also if there was none.
        changed: called when something changed that the topic `sinks` shows.
        lock: keeps other daemons from the positions.
    """

    def __init__(
        self,
        hub: Hub,
        transcripts: Transcripts,
        positions: Path,
        *,
        fault: Callable[[str, str], object],
        clear: Callable[[str], object],
        changed: Callable[[], object],
    ) -> None:
        self.hub = hub
        self.transcripts = transcripts
        self.positions = positions
        self.lock = Positions(positions)
        self.fault = fault
        self.clear = clear
        self.changed = changed

    async def lock_positions(self) -> None:
        """Keep other daemons from the positions. Harmless if that is so. Raises SinkError: another daemon has them."""
        if not self.lock.is_locked:
            await self.transcripts.between_lines(self.lock.lock)


class Feeder:
    """Runs one sink. `run` is a task; the other methods are called on the loop meanwhile.

    Attributes:
        state: what the sink is doing.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Sink],
        outlet: Outlet,
        chance: Callable[[], float],
        *,
        follows_texts: bool,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        """
        Args:
            make: returns the sink; called on a thread, and again later if it raises.
            chance: that of `Backoff`.
            follows_texts: whether the sink is durable.
            passed_over: the profiles whose texts are not for this sink.
        """
        self.state = State.OPENING
        self._name = name
        self._make = make
        self._outlet = outlet
        self._passed_over = passed_over
        self._code = SINK_FAMILY + name
        self._sink: Sink | None = None
        self._feed: TextFeed | None = None
        self._lost: asyncio.Future[None]
        self._waits = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, chance)
        self._wake = asyncio.Event()
        self._error = ""
        self._error_at: str | None = None
        if follows_texts:  # the transcripts hold its texts from now on, also if it cannot be made
            path = outlet.positions / f"{name}.position"
            cursor = Cursor(path, outlet.transcripts, self._cursor_changed, passed_over=passed_over)
            self._feed = TextFeed(name, cursor, works=self._works, undelivered=self._show_undelivered)

    @property
    def writing(self) -> bool:
        """Whether a text is being written, or its position."""
        return self._feed is not None and self._feed.writing

    # What others ask for.

    async def payload(self) -> SinkPayload:
        """Describe the sink."""
        feed = self._feed
        behind = await feed.behind() if feed else Behind(0, None)
        return SinkPayload(
            name=self._name,
            state=self.state,
            last=feed.last if feed else None,
            waiting=behind.waiting,
            oldest_at=behind.oldest_at,
            error=self._error or None,
            error_at=self._error_at,
            parked=len(feed.parked.texts) if feed else 0,
            missed=feed.parked.missed if feed else 0,
        )

    def parked(self) -> list[ParkedText]:
        """Return the texts that the sink refused for good."""
        texts = self._feed.parked.texts if self._feed else ()
        return [ParkedText(self._name, one.id, one.part, one.reason) for one in texts]

    def retry(self) -> None:
        """Try now, and write again what is parked."""
        self._waits.reset()
        self._wake.set()
        if self._feed is not None:
            self._feed.retry()

    async def skip(self) -> int:
        """Park the text at which the sink fails; if there is none, forget what is parked and what was missed.

        Returns:
            The number of texts.

        Raises:
            SinkError: the disk does not accept that.
        """
        if self._feed is None:
            return 0
        if self.state is State.FAILING and self._feed.skip_blocked():
            self._wake.set()
            return 1
        return await self._feed.forget()

    def close(self) -> None:
        """Begin to stop. The caller cancels `run` then, unless a text is being written."""
        self.state = State.CLOSED
        if self._feed is not None:
            self._feed.close()

    # The life of the sink.

    async def open(self) -> None:
        """Note where the texts of the sink begin. Needs only the disk, and not the sink."""
        # Before the first text can come: a sink is made late, and may not be made at all before the next start, which
        # would begin behind what was said meanwhile.
        with contextlib.suppress(SinkError):  # it is raised again where the sink is opened, and told there
            await self._prepare()
        self._show_undelivered()

    async def run(self) -> None:
        """Serve the sink, with growing waits after its failures, until the stop."""
        while not self._closing:
            self._wake.clear()
            wait_s: float | None = None
            try:
                await self._serve()
            except FlowpiError as error:
                self._failed(str(error))
                wait_s = error.retry_after_s if isinstance(error, SinkError) else None
            except TimeoutError:
                self._failed(f"no answer within {PATIENCE_S:.0f} s")
            except Exception as error:  # a bug in one sink must not harm the others
                log.exception("%s", self._code)
                self._failed(f"{type(error).__name__}: see the journal")
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._waits.next_s() if wait_s is None else wait_s):
                        await self._wake.wait()

    @property
    def _closing(self) -> bool:
        return self.state is State.CLOSED

    async def _serve(self) -> None:
        """Open the sink and feed it until it fails, then close it. Raises the error by which it failed."""
        if self._sink is None:
            self._sink = await self._made()
        self._lost = asyncio.get_running_loop().create_future()
        feeding: asyncio.Future[None] = self._lost
        watching: asyncio.Future[None] = self._lost
        try:
            await self._prepare()
            async with asyncio.timeout(PATIENCE_S):
                await self._sink.open()
            if self._feed is None:
                self._works()
            subscribed = self._outlet.hub.subscribe(self._sink.filters, self._receive)
            try:
                if self._feed is not None:
                    feeding = asyncio.ensure_future(self._feed.run(self._sink, PATIENCE_S))
                if isinstance(self._sink, WatchedSink):
                    watching = asyncio.ensure_future(self._sink.wait_lost())
                await asyncio.wait({self._lost, feeding, watching}, return_when=asyncio.FIRST_COMPLETED)
                for ended in (self._lost, feeding, watching):
                    if ended.done():
                        ended.result()
            finally:
                subscribed.close()
        finally:
            await self._end(self._sink, feeding, watching)

    async def _made(self) -> Sink:
        """Return the sink. Raises SinkError, so that it is made again later."""
        try:
            return await asyncio.to_thread(self._make)
        except SinkError:
            raise
        except Exception as error:  # a library that is missing or broken must not stop the other sinks
            log.log(self._level(str(error)), "the sink %s cannot be made", self._name, exc_info=error)
            raise SinkError(str(error)) from error

    async def _prepare(self) -> None:
        """Note where the texts of the sink begin, if that is not known yet. Raises SinkError."""
        if self._feed is None:
            return
        await self._outlet.lock_positions()
        await self._feed.prepare()

    def _receive(self, message: Message, retained: bool) -> None:
        """Show a message live; an error of the sink ends `_serve` and not the publisher of the message."""
        if self._lost.done() or self._sink is None:
            return
        if isinstance(text := message.payload, Partial | Final) and text.profile in self._passed_over:
            return
        try:
            self._sink.receive(message, retained)
        except Exception as error:
            self._lost.set_exception(error)

    async def _end(self, sink: Sink, *working: asyncio.Future[None]) -> None:
        """Stop feeding and watching the sink, and close it."""
        self._lost.cancel()
        for work in working:
            work.cancel()
        await asyncio.gather(*working, return_exceptions=True)  # an error was raised already
        try:
            async with asyncio.timeout(CLOSE_S):
                await sink.close()
        except Exception as error:
            log.warning("%s: not closed: %r", self._code, error)

    # What is said about it.

    def _works(self) -> None:
        """The sink works: clear its fault, and let the waits start anew."""
        self._waits.reset()
        if not self._closing:
            self.state = State.OPEN
        self._outlet.clear(self._code)
        self._outlet.changed()

    def _failed(self, message: str) -> None:
        """Log a failure of the sink and raise its fault."""
        log.log(self._level(message), "%s: %s", self._code, message, extra=fields(fault=self._code))
        if not self._closing:
            self.state = State.FAILING
        self._error, self._error_at = message, rfc3339(time.time())
        self._outlet.fault(self._code, message)
        self._outlet.changed()

    def _level(self, message: str) -> int:
        """Return the level to log an error at: only the first of a streak is news."""
        return logging.DEBUG if self.state is State.FAILING and message == self._error else logging.WARNING

    def _cursor_changed(self) -> None:
        """There is another text, or some have expired."""
        self._show_undelivered()
        self._outlet.changed()

    def _show_undelivered(self) -> None:
        """Raise the fault for texts that the sink will not receive by itself, or clear it."""
        code = UNDELIVERED_FAMILY + self._name
        if self._feed is not None and (what := self._feed.parked.undelivered(self._name)):
            self._outlet.fault(code, what)
        else:
            self._outlet.clear(code)
        self._outlet.changed()
