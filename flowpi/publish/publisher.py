"""Runs the sinks of the table, each in a task of its own (`feeder.py`), and describes how far each is.

It also describes those that are processes of their own (`remote.py`), as far as they report.
"""

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
from flowpi.publish.remote import REMOTES, RemoteKind, RemoteSink
from flowpi.publish.sinks import SINKS, SinkKind
from flowpi.publish.socket_client import Command

log = logging.getLogger(__name__)

NEWS_S = 1.0
"""How long changes are gathered for one message of the topic `sinks`: a sink that catches up changes all the time."""


class Publisher:
    """Runs the sinks that are configured. Call `open`, then `start`; `apply` at a reload, `close` at the stop."""

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
        chance: Callable[[], float] | None = None,
        remotes: Mapping[str, RemoteKind] = REMOTES,
    ) -> None:
        """
        Args:
            positions: the directory of the position files; made for the first durable sink.
            fault: called with the code and message of a fault.
            clear: called with the code of a fault when it is over, and also if there was none.
            command: carries out the commands that come from the peers of a sink; None: nothing does.
            kinds: the table of sinks.
            chance: returns a random number from 0 to 1, which spreads the waits between the tries; by default `random`.
            remotes: the table of those that are processes of their own. They may report before `open`.
        """
        self._config = config
        self._hub = hub
        self._outlet = Outlet(hub, transcripts, positions, fault=fault, clear=clear, changed=self._changed)
        self._command = command
        self._kinds = kinds
        self._chance = chance or _random
        self._started = asyncio.Event()
        """Set when the sinks may be made, which takes a while."""
        self._running: dict[str, tuple[asyncio.Task[None], Feeder]] = {}
        self._news: asyncio.Task[None] | None = None
        self._unpublished = False
        """Whether something changed that the last message of the topic `sinks` does not show."""
        self._closed = False
        self._remote_kinds = remotes
        self._remotes = {name: self._expected(name, *one) for name, one in self._followers(config).items()}

    @property
    def names(self) -> list[str]:
        """The names of the sinks that are configured."""
        return list(self._all())

    async def open(self) -> None:
        """Note where the texts of each sink that is configured begin. Waits for the disk, and for no sink."""
        for name, sink in self._configured(self._config).items():
            await self._open(name, *sink)
        for remote in self._remotes.values():
            await remote.open()
        if self._all():
            self._changed()

    def start(self) -> None:
        """Begin to make the sinks and to open them. Does not wait until they are open."""
        self._started.set()

    async def apply(self, config: Config) -> None:
        """Make those sinks anew whose settings changed. Each goes on from its position.

        The fault of one that failed stands until the new one works.
        """
        before, now = self._configured(self._config), self._configured(config)
        remote_before, remote_now = self._followers(self._config), self._followers(config)
        self._config = config
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        await self._stop(changed)
        for name in changed:
            if name in now:
                await self._open(name, *now[name])
            else:
                self._clear_faults(name)
        remote_changed = [name for name in self._remote_kinds if remote_before.get(name) != remote_now.get(name)]
        for name in remote_changed:
            if name in self._remotes:
                self._remotes.pop(name).close()
            if name in remote_now:
                self._remotes[name] = self._expected(name, *remote_now[name])
                await self._remotes[name].open()
            else:
                self._outlet.clear(self._remote_kinds[name].fault)
                self._outlet.clear(UNDELIVERED_FAMILY + name)
        if changed or remote_changed:
            self._changed()

    async def close(self) -> None:
        """Close all sinks at the same time, within `3 * CLOSE_S`. One that hangs is left behind."""
        self._closed = True
        if self._news is not None:  # before the stop: meanwhile it would publish a list without the sinks
            self._news.cancel()
        for remote in self._remotes.values():
            remote.close()
        await self._stop(list(self._running))
        # On the thread that moves the positions, behind all that it still has to write for them.
        unlocking = asyncio.ensure_future(self._outlet.transcripts.between_lines(self._outlet.lock.unlock))
        await asyncio.wait({unlocking}, timeout=feeder.CLOSE_S)

    # What others ask for.

    async def sinks(self) -> list[SinkPayload]:
        """Describe each sink that is configured."""
        return [await sink.payload() for sink in list(self._all().values())]

    def remote(self, name: str) -> RemoteSink | None:
        """Return a sink that is a process of its own, or None if none of this name is configured."""
        return self._remotes.get(name)

    def parked(self, names: Iterable[str]) -> list[ParkedText]:
        """Return the texts that these sinks refused for good."""
        sinks = self._all()
        return [one for name in names for one in sinks[name].parked()]

    def retry(self, names: Iterable[str]) -> None:
        """Let these sinks try now, and write again what is parked.

        Raises:
            SinkAbsentError: one of them is a process of its own, and not there.
        """
        sinks = self._all()
        for name in names:
            sinks[name].retry()

    def cancel(self) -> None:
        """Let the processes stop with what they do for a person who has changed their mind."""
        for remote in self._remotes.values():
            remote.cancel()

    async def skip(self, names: Iterable[str]) -> int:
        """Park the texts at which these sinks fail; where there is none, forget what is parked and what was missed.

        Returns:
            The number of texts.

        Raises:
            SinkError: the disk does not accept that.
            SinkAbsentError: one of them is a process of its own, and not there.
        """
        sinks = self._all()
        return sum([await sinks[name].skip() for name in names])

    # The rest.

    def _clear_faults(self, name: str) -> None:
        self._outlet.clear(SINK_FAMILY + name)
        self._outlet.clear(UNDELIVERED_FAMILY + name)

    def _all(self) -> dict[str, Feeder | RemoteSink]:
        return {**{name: running for name, (_, running) in self._running.items()}, **self._remotes}

    def _followers(self, config: Config) -> dict[str, tuple[bool, frozenset[str]]]:
        """Return of each sink in a configuration that is a process of its own whether it follows texts, and the
        profiles whose texts pass it."""
        found = {name: kind.follows_texts(config) for name, kind in self._remote_kinds.items()}
        return {name: (follows, config.without_sink(name)) for name, follows in found.items() if follows is not None}

    def _expected(self, name: str, follows_texts: bool, passed_over: frozenset[str]) -> RemoteSink:
        kind = self._remote_kinds[name]
        return RemoteSink(name, kind, self._outlet, follows_texts=follows_texts, passed_over=passed_over)

    def _configured(self, config: Config) -> dict[str, tuple[SinkKind, Any, frozenset[str]]]:
        """Return the kind and the settings of each sink in a configuration, and the profiles whose texts pass it."""
        return {
            name: (kind, one, config.without_sink(name))
            for kind in self._kinds.values()
            for name, one in kind.settings(config).items()
        }

    async def _open(self, name: str, kind: SinkKind, settings: Any, passed_over: frozenset[str]) -> None:
        running = Feeder(
            name,
            partial(kind.make, settings, self._command),
            self._outlet,
            self._chance,
            follows_texts=kind.follows_texts(settings),
            passed_over=passed_over,
        )
        await running.open()
        self._running[name] = asyncio.create_task(self._run(running), name=f"sink {name}"), running

    async def _run(self, running: Feeder) -> None:
        await self._started.wait()
        await running.run()

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


def _random() -> float:
    import random  # only if there is a sink that waits

    return random.random()
