"""Runs the sinks of the table, each in a task of its own (`feeder.py`), and tells how far each is."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.core.faults import SINK_FAMILY, UNDELIVERED_FAMILY
from flowpi.publish import feeder
from flowpi.publish.feeder import Feeder, Outlet
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub
from flowpi.publish.messages import ParkedText, SinkPayload
from flowpi.publish.sinks import SINKS, SinkKind
from flowpi.publish.socket_client import Command

log = logging.getLogger(__name__)

NEWS_S = 1.0
"""How long changes are gathered for one message of the topic `sinks`: a sink that catches up changes all the time."""


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
        self._outlet = Outlet(hub, transcripts, positions, fault=fault, clear=clear, changed=self._changed)
        self._command = command
        self._kinds = kinds
        self._running: dict[str, tuple[asyncio.Task[None], Feeder]] = {}
        self._news: asyncio.Task[None] | None = None
        self._unpublished = False
        """Whether something changed that the last message of the topic `sinks` does not show."""
        self._closed = False

    @property
    def names(self) -> list[str]:
        """The names of the sinks that are configured."""
        return list(self._running)

    async def open(self) -> None:
        """Begin to make and open the sinks that are configured. Does not wait until they are open."""
        for name, sink in self._configured(self._config).items():
            self._start(name, *sink)
        if self._running:
            self._changed()

    async def apply(self, config: Config) -> None:
        """Make those sinks anew whose settings changed. Each goes on from its position."""
        before, now = self._configured(self._config), self._configured(config)
        self._config = config
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        await self._stop(changed)
        for name in changed:
            self._outlet.clear(SINK_FAMILY + name)
            self._outlet.clear(UNDELIVERED_FAMILY + name)
            if name in now:
                self._start(name, *now[name])
        if changed:
            self._changed()

    async def close(self) -> None:
        """Close all sinks at the same time, within `2 * CLOSE_S`. One that hangs is left behind."""
        self._closed = True
        if self._news is not None:  # before the stop: meanwhile it would publish a list without the sinks
            self._news.cancel()
        await self._stop(list(self._running))

    # What others ask for.

    async def sinks(self) -> list[SinkPayload]:
        """Describe each sink that is configured."""
        return [await running.payload() for _, running in list(self._running.values())]

    def parked(self, names: Iterable[str]) -> list[ParkedText]:
        """Return the texts that these sinks refused for good."""
        return [one for name in names for one in self._running[name][1].parked()]

    def retry(self, names: Iterable[str]) -> None:
        """Let these sinks try now, and write again what is parked."""
        for name in names:
            self._running[name][1].retry()

    async def skip(self, names: Iterable[str]) -> int:
        """Park the texts at which these sinks fail; where there is none, forget what is parked and what was missed.

        Returns:
            The number of texts.

        Raises:
            SinkError: the disk does not accept that.
        """
        return sum([await self._running[name][1].skip() for name in names])

    # The rest.

    def _configured(self, config: Config) -> dict[str, tuple[SinkKind, Any]]:
        """Return the kind and the settings of each sink in a configuration."""
        return {name: (kind, one) for kind in self._kinds.values() for name, one in kind.settings(config).items()}

    def _start(self, name: str, kind: SinkKind, settings: Any) -> None:
        running = Feeder(name, partial(kind.make, settings, self._command), self._outlet)
        self._running[name] = asyncio.create_task(running.run(), name=f"sink {name}"), running

    async def _stop(self, names: Iterable[str]) -> None:
        stopped = [self._running.pop(name) for name in names if name in self._running]
        for task, running in stopped:
            running.close()
            # A text that is being written gets CLOSE_S for itself and its position: cancelled between the two, the sink
            # would receive it again at the next start.
            if not running.writing:
                task.cancel()
        hanging = {task for task, _ in stopped}
        for _ in range(2):
            if hanging:
                _, hanging = await asyncio.wait(hanging, timeout=feeder.CLOSE_S)
            for task in hanging:
                task.cancel()
        for task in hanging:
            log.warning("%s does not close in time", task.get_name())

    def _changed(self) -> None:
        """Publish the topic `sinks` soon."""
        self._unpublished = True
        if not self._closed and (self._news is None or self._news.done()):
            self._news = asyncio.create_task(self._publish(), name="sinks")

    async def _publish(self) -> None:
        while self._unpublished:
            await asyncio.sleep(NEWS_S)
            self._unpublished = False
            self._hub.publish(topics.SINKS, await self.sinks())
