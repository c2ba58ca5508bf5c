"""A hub, transcripts and faults around a publisher that a test starts and stops."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flowpi.config.schema import Config
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub
from flowpi.publish.publisher import Publisher
from flowpi.publish.sinks import Sink, SinkKind
from tests.publish.destinations import MakeSink
from tests.publish.test_files import NOON, final
from tests.waiting import until


def made(sink: Any, command: object) -> Any:
    return sink() if callable(sink) else sink


def follows_texts(sink: Any) -> bool:
    return bool(getattr(sink, "durable", True))


class Harness:
    """A hub, the faults that stand, and one run of a publisher after the other."""

    def __init__(self, directory: Path) -> None:
        self.transcripts = Transcripts(directory / "transcripts", keep_days=30)
        self.transcripts.open()
        self.positions = directory / "sinks"
        self.hub = Hub()
        self.faults: dict[str, str] = {}
        self.chance: Callable[[], float] = random.random
        """What spreads the waits between the tries."""

    def publisher(self, kinds: Mapping[str, SinkKind], config: Config | None = None) -> Publisher:
        """Return a publisher that is not open yet."""
        return Publisher(
            config or Config(),
            self.hub,
            self.transcripts,
            self.positions,
            fault=self.faults.__setitem__,
            clear=lambda code: self.faults.pop(code, None),
            kinds=kinds,
            chance=self.chance,
        )

    @asynccontextmanager
    async def run(self, **sinks: Sink | Callable[[], Sink] | None) -> AsyncIterator[Publisher]:
        """Run a publisher with these sinks, or what makes them; None: not configured."""
        running = self.publisher(
            {
                name: SinkKind(lambda _, one={name: sink}: one, made, follows_texts)  # type: ignore[misc]
                for name, sink in sinks.items()
                if sink is not None
            }
        )
        await running.open()
        running.start()
        try:
            yield running
        finally:
            await running.close()

    async def say(self, *numbers: int, unix_s: float = NOON) -> None:
        for number in numbers:
            await self.transcripts.append(final(number), unix_s)

    async def begin(self, make: MakeSink) -> None:
        """Start the publisher for the first time, so that it writes its position."""
        async with self.run(sink=make()):
            await until(lambda: (self.positions / "sink.position").exists())
