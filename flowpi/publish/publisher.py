"""The sinks of the table, at work: each is opened, fed, opened again after a failure, and closed, in a task of its own.

While a sink accepts nothing the fault `sink.NAME` stands, and the waits between two tries grow. Live messages go past
it meanwhile; a durable sink gets each final text later, from the transcripts (`cursor.py`).
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
from flowpi.publish.sinks import SINKS, Kind, Sink

log = logging.getLogger(__name__)

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
"""Between two tries; each wait is twice the one before."""

PATIENCE_S = 30.0
"""The longest time for opening a sink, and for a text."""

CLOSE_S = 1.0
"""The longest time for closing a sink, and at the stop for the text that it is just being given."""


class Publisher:
    """Runs the sinks that are configured. `open` once, `apply` at a reload, `close` at the stop."""

    def __init__(
        self,
        config: Config,
        hub: Hub,
        transcripts: Transcripts,
        positions: Path,
        *,
        fault: Callable[[str, str], object],
        clear: Callable[[str], object],
        kinds: Mapping[str, Kind] = SINKS,
    ) -> None:
        """
        Args:
            positions: the folder of the position files; made for the first durable sink.
            fault: called with code and message of a fault.
            clear: called with its code when it is over; harmless if there is none.
        """
        self._config = config
        self._hub = hub
        self._transcripts = transcripts
        self._positions = positions
        self._fault = fault
        self._clear = clear
        self._kinds = kinds
        self._running: dict[str, tuple[asyncio.Task[None], _Feeder]] = {}

    async def open(self) -> None:
        """Make the sinks that are configured, and begin to open them."""
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
        """Close all sinks at once, within `2 * CLOSE_S`; one that hangs is left behind."""
        await self._stop(list(self._running))

    async def _start(self, name: str) -> None:
        kind = self._kinds[name]
        settings = kind.settings(self._config)
        if settings is None:
            return
        try:
            sink = await asyncio.to_thread(kind.make, settings)
        except Exception as error:  # a library that is missing or broken must not cost the others
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
            if not feeder.writing:  # else the text that is being written must not be written twice
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
        """A text is being written, or its position."""
        self._code = SINK_FAMILY + name
        self._sink = sink
        self._cursor = cursor
        self._hub = hub
        self._fault = fault
        self._clear = clear
        self._lost: asyncio.Future[None]
        self._wait_s = FIRST_WAIT_S
        self._refused = False
        """It was given a text and has not accepted it: only that proves that it works again."""
        self._taken = False
        """It has the text that comes next, but that is not on the disk yet."""

    async def run(self) -> None:
        while not self.closing:
            try:
                await self._serve()
            except FlowpiError as error:
                self._failed(str(error))
            except TimeoutError:
                self._failed(f"no answer within {PATIENCE_S:.0f} s")
            except Exception as error:  # a mistake in one sink hurts no other
                log.exception("%s", self._code)
                self._failed(f"{type(error).__name__}: see the journal")
            await asyncio.sleep(0 if self.closing else self._wait_s)
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)

    async def _serve(self) -> None:
        """Open the sink and feed it until it fails. Raises what it failed of."""
        self._lost = asyncio.get_running_loop().create_future()
        feeding: asyncio.Future[None] = self._lost
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._sink.open()
            if not self._refused:
                self._works()
            subscribed = self._hub.subscribe(self._sink.filters, self._receive)
            try:
                if self._cursor is not None:
                    feeding = asyncio.ensure_future(self._feed(self._cursor))
                await asyncio.wait({self._lost, feeding}, return_when=asyncio.FIRST_COMPLETED)
                for ended in (self._lost, feeding):
                    if ended.done():
                        ended.result()
            finally:
                subscribed.close()
        finally:
            await self._end(feeding)

    async def _feed(self, cursor: Cursor) -> None:
        """Give it each text once, in order, until the stop."""
        while not self.closing:
            final = await cursor.next()
            self.writing = True
            self._refused = True
            try:
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
        if self._lost.done():
            return
        try:
            self._sink.receive(message, retained)
        except Exception as error:
            self._lost.set_exception(error)

    async def _end(self, feeding: asyncio.Future[None]) -> None:
        self._lost.cancel()
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)  # they were raised already
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._sink.close()
        except Exception as error:
            log.warning("%s: not closed: %r", self._code, error)

    def _works(self) -> None:
        self._wait_s = FIRST_WAIT_S
        self._clear(self._code)

    def _failed(self, message: str) -> None:
        log.warning("%s: %s", self._code, message, extra=fields(fault=self._code))
        self._fault(self._code, message)
