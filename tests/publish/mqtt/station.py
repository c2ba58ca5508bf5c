"""A publisher whose only sink is that of MQTT, with what the rest of the appliance would give it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from flowpi.config.mqtt import MqttSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.core.faults import kind_of
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Final, Problem, Request
from flowpi.publish.mqtt.sink import MqttSink
from flowpi.publish.publisher import Publisher
from flowpi.publish.sinks import SinkKind
from tests.publish.test_files import NOON, final
from tests.waiting import until

Broken = Callable[[str], Awaitable[None]]
"""Waits for a fault with a reason, which is in the log too."""

Parked = Callable[[Publisher, str], Awaitable[None]]
"""Waits until a text is parked for a reason, which is in the log too."""

IDLE = {"state": "idle", "faults": [], "spooled": 0}


class Station:
    """The hub, the transcripts, the faults that stand and those that ever stood.

    Attributes:
        asked: what the broker's users asked for.
        answer: what they are answered.
    """

    def __init__(self, directory: Path) -> None:
        self.transcripts = Transcripts(directory / "transcripts", keep_days=30)
        self.transcripts.open()
        self.positions = directory / "sinks"
        self.hub = Hub()
        self.hub.publish("availability", "online")
        self.hub.publish("state", IDLE)
        self.hub.publish("stats", {"delivered": 0})
        self.faults: dict[str, str] = {}
        self.said: list[str] = []
        self.asked: list[Request] = []
        self.answer: dict[str, Any] | Problem = {"state": "recording"}

    @property
    def fault(self) -> str | None:
        """What is wrong with MQTT now."""
        return self.faults.get("sink.mqtt")

    @asynccontextmanager
    async def run(self, url: str, *, device_id: str = "desk", **settings: Any) -> AsyncIterator[Publisher]:
        def make(appliance: MqttSettings, command: object) -> MqttSink:
            return MqttSink(appliance, device_id, self._execute, jitter_s=lambda: 0.0)

        config = Config(publish=PublishSettings(mqtt=MqttSettings(url, **settings)))
        running = Publisher(
            config,
            self.hub,
            self.transcripts,
            self.positions,
            fault=self._raise,
            clear=lambda code: self.faults.pop(code, None),
            kinds={"mqtt": SinkKind(lambda config: {"mqtt": config.publish.mqtt}, make, lambda _: True)},
        )
        await running.open()
        running.start()
        try:
            yield running
        finally:
            await running.close()

    async def ready(self) -> None:
        """Wait until it has its position: what is said from now on is published."""
        await until((self.positions / "mqtt.position").exists)

    async def fed(self) -> None:
        """Wait until the broker has shown the position: what is said from now on is published at once."""
        trail = self.positions / "mqtt.trail"
        await until(lambda: trail.exists() and b'"shown":true' in trail.read_bytes())

    async def say(self, *numbers: int, text: str = "") -> list[Final]:
        """Append texts to the transcripts, and return them."""
        texts = [final(number) for number in numbers]
        for one in texts:
            one.text = text or one.text
            await self.transcripts.append(one, NOON)
        return texts

    async def broken(self, reason: str) -> None:
        """Wait for a fault with this reason."""
        await until(lambda: any(reason in said for said in self.said))

    async def parked(self, publisher: Publisher, reason: str) -> None:
        """Wait until a text is parked for this reason."""
        await until(lambda: any(reason in one.reason for one in publisher.parked(["mqtt"])))
        await until(lambda: "undelivered.mqtt" in self.faults)

    def _raise(self, code: str, message: str) -> None:
        assert kind_of(code).accepts_presses
        self.faults[code] = message
        self.said.append(message)

    async def _execute(self, request: Request) -> dict[str, Any] | Problem:
        self.asked.append(request)
        return self.answer
