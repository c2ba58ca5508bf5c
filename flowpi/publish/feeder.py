"""One sink, from its first opening to the stop: it is made, opened, fed, and opened again after a failure.

While a sink accepts nothing, the fault `sink.NAME` stands, and the waits between two attempts grow. It misses the live
messages of that time; a durable sink receives each final text later, from the transcripts (`cursor.py`).

A text that the sink refuses for good is parked: it is put aside durably, the fault `undelivered.NAME` says so, and the
next text follows. `retry` writes what is parked again, `skip` parks the text at which a sink fails again and again.
"""

import asyncio
import contextlib
import enum
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from flowpi.core.errors import FlowpiError, SinkError, SinkRefusedError
from flowpi.core.faults import SINK_FAMILY, UNDELIVERED_FAMILY
from flowpi.host.logfields import fields
from flowpi.publish.cursor import Behind, Cursor
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final, ParkedText, SinkPayload, TextId, rfc3339
from flowpi.publish.sinks import Sink, WatchedSink

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""The longest wait between two attempts; each wait is twice as long as the one before."""

PATIENCE_S = 30.0
"""The longest time that opening a sink, or writing a text to it, may need."""

CLOSE_S = 1.0
"""The longest time that closing a sink may need, and at the stop the text that is being written to it."""

SKIPPED = "skipped by a command"
"""The reason of a text that `skip` parked."""


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
        self.fault = fault
        self.clear = clear
        self.changed = changed


class Feeder:
    """Runs one sink. `run` is a task; the other methods are called on the loop meanwhile.

    Attributes:
        state: what the sink is doing.
        writing: whether a text is being written, or its position.
    """

    def __init__(self, name: str, make: Callable[[], Sink], outlet: Outlet) -> None:
        """`make` returns the sink; called on a thread, and again later if it raises."""
        self.state = State.OPENING
        self.writing = False
        self._name = name
        self._make = make
        self._outlet = outlet
        self._code = SINK_FAMILY + name
        self._sink: Sink | None = None
        self._cursor: Cursor | None = None
        self._lost: asyncio.Future[None]
        self._wait_s = FIRST_WAIT_S
        self._wake = asyncio.Event()
        self._error = ""
        self._error_at: str | None = None
        self._blocked: TextId | None = None
        """The text that the sink did not accept last: then only accepting it proves that the sink works again."""
        self._skip: TextId | None = None
        """The blocked text that is to be parked."""
        self._again = False
        """Whether what is parked is to be written again."""
        self._taken = False
        """Whether the sink has the next text already, and only its position is not on the disk yet."""
        if _is_there(outlet.positions / f"{name}.position"):
            self._cursor = self._follow()  # the transcripts hold its texts from now on, also if it cannot be made

    # What others ask for.

    async def payload(self) -> SinkPayload:
        """Describe the sink."""
        cursor, behind = self._cursor, Behind(0, None)
        if cursor is not None:
            with contextlib.suppress(SinkError):  # that disk has a fault of its own
                behind = await cursor.behind()
        return SinkPayload(
            name=self._name,
            state=self.state,
            last=cursor.last if cursor else None,
            waiting=behind.waiting,
            oldest_at=behind.oldest_at,
            error=self._error or None,
            error_at=self._error_at,
            parked=len(cursor.parked.texts) if cursor else 0,
            missed=cursor.parked.missed if cursor else 0,
        )

    def parked(self) -> list[ParkedText]:
        """Return the texts that the sink refused for good."""
        texts = self._cursor.parked.texts if self._cursor else ()
        return [ParkedText(self._name, one.id, one.part, one.reason) for one in texts]

    def retry(self) -> None:
        """Try now, and write again what is parked."""
        self._again = self._cursor is not None
        self._wait_s = FIRST_WAIT_S
        self._wake.set()
        if self._cursor is not None:
            self._cursor.interrupt()

    async def skip(self) -> int:
        """Park the text at which the sink fails; if there is none, forget what is parked and what was missed.

        Returns:
            The number of texts.

        Raises:
            SinkError: the disk does not accept that.
        """
        if self.state is State.FAILING and self._blocked is not None:
            self._skip = self._blocked
            self._wake.set()
            return 1
        if self._cursor is None:
            return 0
        count = len(self._cursor.parked.texts) + self._cursor.parked.missed
        await self._cursor.forget()
        self._show_undelivered()
        return count

    def close(self) -> None:
        """Begin to stop. The caller cancels `run` then, unless a text is being written."""
        self.state = State.CLOSED
        if self._cursor is not None:
            self._cursor.close()

    # The life of the sink.

    async def run(self) -> None:
        """Serve the sink, with growing waits after its failures, until the stop."""
        while not self._closing:
            self._wake.clear()
            wait_s: float | None = self._wait_s
            try:
                await self._serve()
            except FlowpiError as error:
                self._failed(str(error))
                if isinstance(error, SinkError) and error.retry_after_s is not None:
                    wait_s = error.retry_after_s if error.retry_after_s < math.inf else None
            except TimeoutError:
                self._failed(f"no answer within {PATIENCE_S:.0f} s")
            except Exception as error:  # a bug in one sink must not harm the others
                log.exception("%s", self._code)
                self._failed(f"{type(error).__name__}: see the journal")
            if not self._closing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    @property
    def _closing(self) -> bool:
        return self.state is State.CLOSED

    async def _serve(self) -> None:
        """Open the sink and feed it until it fails, then close it. Raises the error by which it failed."""
        if self._sink is None:
            self._sink = await self._made()
            if self._sink.durable and self._cursor is None:
                self._cursor = self._follow()
        self._lost = asyncio.get_running_loop().create_future()
        feeding: asyncio.Future[None] = self._lost
        watching: asyncio.Future[None] = self._lost
        try:
            # The position before the sink: one that cannot be opened at its very first start would miss the texts of
            # the time until it can.
            if self._cursor is not None:
                await self._cursor.open()
                self._show_undelivered()
                await self._carry_out_skip(self._cursor)
            async with asyncio.timeout(PATIENCE_S):
                await self._sink.open()
            if self._blocked is None:
                self._works()
            subscribed = self._outlet.hub.subscribe(self._sink.filters, self._receive)
            try:
                if self._cursor is not None:
                    feeding = asyncio.ensure_future(self._feed(self._sink, self._cursor))
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

    def _follow(self) -> Cursor:
        path = self._outlet.positions / f"{self._name}.position"
        return Cursor(path, self._outlet.transcripts, self._cursor_changed)

    async def _feed(self, sink: Sink, cursor: Cursor) -> None:
        """Write each text to the sink once, in order, until the stop."""
        while not self._closing:
            if self._again:
                await self._write_parked(sink, cursor)
            final = await cursor.next()
            if final is None:
                continue
            self.writing = True
            self._blocked = TextId(final.id, final.part)
            try:
                # The sink first, then the position: a kill between the two repeats one text, the other order loses it.
                # If only the position failed, the text is not written a second time.
                if not self._taken:
                    await self._write(sink, cursor, final)
                    self._taken = True
                await cursor.passed()
                self._taken = False
            finally:
                self.writing = False
            self._blocked = self._skip = None
            self._works()

    async def _write(self, sink: Sink, cursor: Cursor, final: Final) -> None:
        """Write a text to the sink, or park it if the sink refuses it for good. Raises what the sink raises."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await sink.write(final)
        except SinkRefusedError as error:
            await self._park(cursor, str(error))

    async def _write_parked(self, sink: Sink, cursor: Cursor) -> None:
        """Write what is parked once more. What is refused again stays parked.

        Raises:
            SinkError, TimeoutError: the sink failed at one of them. It stays parked too, with the reason.
        """
        # Over whatever happens: a text at which the sink fails again and again must not hold the next ones back.
        self._again = False
        try:
            for one in cursor.parked.texts:
                self._blocked = one.text_id
                try:
                    final = await cursor.read_parked(one)
                except SinkError as error:  # that is no failure of the sink
                    await cursor.park_again(one, str(error))
                    continue
                try:
                    if final is not None:
                        async with asyncio.timeout(PATIENCE_S):
                            await sink.write(final)
                except SinkRefusedError as error:
                    await cursor.park_again(one, str(error))
                except (SinkError, TimeoutError) as error:
                    await cursor.park_again(one, str(error) or f"no answer within {PATIENCE_S:.0f} s")
                    raise
                else:
                    await cursor.unpark(one)
        finally:
            self._blocked = self._skip = None
        self._works()
        self._show_undelivered()

    async def _carry_out_skip(self, cursor: Cursor) -> None:
        """Park the text at which the sink failed, if that was asked for."""
        if self._skip is None:
            return
        if (final := await cursor.next()) is not None and TextId(final.id, final.part) == self._skip:
            if not self._taken:
                await self._park(cursor, SKIPPED)
            await cursor.passed()
            self._taken = False
        self._skip = self._blocked = None

    async def _park(self, cursor: Cursor, reason: str) -> None:
        """Park the next text of a cursor. Raises SinkError."""
        await cursor.park(reason)
        log.warning("%s: a text is parked: %s", self._code, reason, extra=fields(fault=UNDELIVERED_FAMILY + self._name))
        self._show_undelivered()

    def _receive(self, message: Message, retained: bool) -> None:
        """Show a message live; an error of the sink ends `_serve` and not the publisher of the message."""
        if self._lost.done() or self._sink is None:
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
        self._wait_s = FIRST_WAIT_S
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
        if self._cursor is None:
            return
        parked, missed = len(self._cursor.parked.texts), self._cursor.parked.missed
        what = [f"{parked} refused by the sink {self._name}"] if parked else []
        what += [f"{missed} expired before the sink {self._name} had them"] if missed else []
        code = UNDELIVERED_FAMILY + self._name
        if what:
            self._outlet.fault(code, f"texts were not delivered ({', '.join(what)}): see `flowpi sinks`")
        else:
            self._outlet.clear(code)
        self._outlet.changed()


def _is_there(position: Path) -> bool:
    """Whether a position was noted before. One that cannot be looked at is a fault of the sink, when it is opened."""
    try:
        return position.exists()
    except OSError:
        return True
