"""Runs the sinks of the table: each is opened, fed, opened again after a failure, and closed, in a task of its own.

While a sink accepts nothing, the fault `sink.NAME` stands, and the waits between two attempts grow. It misses the live
messages of that time; a durable sink receives each final text later, from the transcripts (`cursor.py`).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError
from flowpi.core.faults import SINK_FAMILY
from flowpi.host.logfields import fields
from flowpi.publish.cursor import Cursor
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub, Message
from flowpi.publish.sinks import SINKS, Sink, SinkKind, WatchedSink
from flowpi.publish.socket_client import Command

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""The longest wait between two attempts; each wait is twice as long as the one before."""

PATIENCE_S = 30.0
"""The longest time that opening a sink, or writing a text to it, may need."""

CLOSE_S = 1.0
"""The longest time that closing a sink may need, and at the stop the text that is being written to it."""


class Publisher:
    """Runs the sinks that are configured. Call `open` once, `apply` at a reload, `close` at the stop."""

    def __init__(
        self,
        config: Config,
        hub: Hub,
        transcripts: Transcripts,
        positions: Path,
        *,
        fault: Callable[[str, str], object],
        clear: Callable[[str], object],
        command: Command | None = None,
        kinds: Mapping[str, SinkKind] = SINKS,
    ) -> None:
        """
        Args:
            positions: the directory of the position files; made for the first durable sink.
            fault: called with the code and message of a fault.
            clear: called with the code of a fault when it is over, and also if there was none.
            command: carries out the commands that come from the peers of a sink; None: nothing does.
            kinds: the table of sinks.
        """
        self._config = config
        self._hub = hub
        self._transcripts = transcripts
        self._positions = positions
        self._fault = fault
        self._clear = clear
        self._command = command
        self._kinds = kinds
        self._running: dict[str, tuple[asyncio.Task[None], _Feeder]] = {}

    async def open(self) -> None:
        """Make the sinks that are configured, and begin to open them. Does not wait until they are open."""
        for name in self._kinds:
            await self._start(name)

    async def apply(self, config: Config) -> None:
        """Make those sinks anew whose settings changed. Each goes on from its position."""
        before, self._config = self._config, config
        changed = [name for name, kind in self._kinds.items() if kind.settings(before) != kind.settings(config)]
        await self._stop(changed)
        for name in changed:
            self._clear(SINK_FAMILY + name)
            await self._start(name)

    async def close(self) -> None:
        """Close all sinks at the same time, within `2 * CLOSE_S`. One that hangs is left behind."""
        await self._stop(list(self._running))

    async def _start(self, name: str) -> None:
        kind = self._kinds[name]
        settings = kind.settings(self._config)
        if settings is None:
            return
        try:
            sink = await asyncio.to_thread(kind.make, settings, self._command)
        except Exception as error:  # a library that is missing or broken must not stop the other sinks
            log.exception("the sink %s cannot be made", name, extra=fields(fault=SINK_FAMILY + name))
            self._fault(SINK_FAMILY + name, str(error))
            return
        cursor = Cursor(self._positions / f"{name}.position", self._transcripts) if sink.durable else None
        feeder = _Feeder(name, sink, cursor, self._hub, self._fault, self._clear)
        self._running[name] = asyncio.create_task(feeder.run(), name=f"sink {name}"), feeder

    async def _stop(self, names: Iterable[str]) -> None:
        stopped = [self._running.pop(name) for name in names if name in self._running]
        for task, feeder in stopped:
            feeder.closing = True
            # A text that is being written gets CLOSE_S for itself and its position: cancelled between the two, the sink
            # would receive it again at the next start.
            if not feeder.writing:
                task.cancel()
        hanging = {task for task, _ in stopped}
        for _ in range(2):
            if hanging:
                _, hanging = await asyncio.wait(hanging, timeout=CLOSE_S)
            for task in hanging:
                task.cancel()
        for task in hanging:
            log.warning("%s does not close in time", task.get_name())


class _Feeder:
    """One sink, from its first opening to the stop."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        cursor: Cursor | None,
        hub: Hub,
        fault: Callable[[str, str], object],
        clear: Callable[[str], object],
    ) -> None:
        self.closing = False
        self.writing = False
        """Whether a text is being written, or its position."""
        self._code = SINK_FAMILY + name
        self._sink = sink
        self._cursor = cursor
        self._hub = hub
        self._fault = fault
        self._clear = clear
        self._lost: asyncio.Future[None]
        self._wait_s = FIRST_WAIT_S
        self._refused = False
        """Whether the sink has not accepted the last text: then only accepting it proves that the sink works again."""
        self._taken = False
        """Whether the sink has the next text already, and only its position is not on the disk yet."""

    async def run(self) -> None:
        """Serve the sink, with growing waits after its failures, until the stop."""
        while not self.closing:
            try:
                await self._serve()
            except FlowpiError as error:
                self._failed(str(error))
            except TimeoutError:
                self._failed(f"no answer within {PATIENCE_S:.0f} s")
            except Exception as error:  # a bug in one sink must not harm the others
                log.exception("%s", self._code)
                self._failed(f"{type(error).__name__}: see the journal")
            await asyncio.sleep(0 if self.closing else self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    async def _serve(self) -> None:
        """Open the sink and feed it until it fails, then close it. Raises the error by which it failed."""
        self._lost = asyncio.get_running_loop().create_future()
        feeding: asyncio.Future[None] = self._lost
        watching: asyncio.Future[None] = self._lost
        try:
            # The position before the sink: one that cannot be opened at its very first start would miss the texts of
            # the time until it can.
            if self._cursor is not None:
                await self._cursor.open()
            async with asyncio.timeout(PATIENCE_S):
                await self._sink.open()
            if not self._refused:
                self._works()
            subscribed = self._hub.subscribe(self._sink.filters, self._receive)
            try:
                if self._cursor is not None:
                    feeding = asyncio.ensure_future(self._feed(self._cursor))
                if isinstance(self._sink, WatchedSink):
                    watching = asyncio.ensure_future(self._sink.wait_lost())
                await asyncio.wait({self._lost, feeding, watching}, return_when=asyncio.FIRST_COMPLETED)
                for ended in (self._lost, feeding, watching):
                    if ended.done():
                        ended.result()
            finally:
                subscribed.close()
        finally:
            await self._end(feeding, watching)

    async def _feed(self, cursor: Cursor) -> None:
        """Write each text to the sink once, in order, until the stop."""
        while not self.closing:
            final = await cursor.next()
            self.writing = True
            self._refused = True
            try:
                # The sink first, then the position: a kill between the two repeats one text, the other order loses it.
                # If only the position failed, the text is not written a second time.
                if not self._taken:
                    async with asyncio.timeout(PATIENCE_S):
                        await self._sink.write(final)
                    self._taken = True
                await cursor.passed()
                self._taken = False
            finally:
                self.writing = False
            self._refused = False
            self._works()

    def _receive(self, message: Message, retained: bool) -> None:
        """Show a message live; an error of the sink ends `_serve` and not the publisher of the message."""
        if self._lost.done():
            return
        try:
            self._sink.receive(message, retained)
        except Exception as error:
            self._lost.set_exception(error)

    async def _end(self, *working: asyncio.Future[None]) -> None:
        """Stop feeding and watching the sink, and close it."""
        self._lost.cancel()
        for work in working:
            work.cancel()
        await asyncio.gather(*working, return_exceptions=True)  # an error was raised already
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._sink.close()
        except Exception as error:
            log.warning("%s: not closed: %r", self._code, error)

    def _works(self) -> None:
        """The sink works: clear its fault, and let the waits start anew."""
        self._wait_s = FIRST_WAIT_S
        self._clear(self._code)

    def _failed(self, message: str) -> None:
        """Log a failure of the sink and raise its fault."""
        log.warning("%s: %s", self._code, message, extra=fields(fault=self._code))
        self._fault(self._code, message)
