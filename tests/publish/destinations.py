"""A destination of each kind of sink, which tests control, and a sink that only records."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from flowpi.config.mqtt import MqttSettings
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.publish import webhook
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final
from flowpi.publish.sinks import Sink
from tests.publish.mqtt.broker import shared_broker
from tests.publish.webhook.receiver import SECRET, Receiver


class Recording:
    """A sink that records what it receives, with levers."""

    def __init__(self, filters: Sequence[str] = (), *, durable: bool = True) -> None:
        self.filters = filters
        self.durable = durable
        self.got: list[int] = []
        self.live: list[Any] = []
        self.calls: list[str] = []
        self.refuses_open = False
        self.refuses_write = False
        self.refuses_for_good: set[int] = set()
        """The numbers of the texts that it never accepts."""
        self.fails_at: set[int] = set()
        """The numbers of the texts at which it fails."""
        self.loses = False
        self.hangs_at_close = False
        self.free = asyncio.Event()
        """While it is cleared, the sink blocks at each text."""
        self.free.set()
        self.before_return: Callable[[], None] = lambda: None

    @classmethod
    def new_destination(cls) -> None:
        """Have the sinks from now on another destination than those before."""

    async def open(self) -> None:
        self.calls.append("open")
        if self.refuses_open:
            raise SinkError("nobody is there", "start it")

    def receive(self, message: Message, retained: bool) -> None:
        if self.loses:
            raise SinkError("the connection broke")
        self.live.append((message.payload, retained))

    async def write(self, final: Final) -> None:
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        if int(final.id[-3:]) in self.fails_at:
            raise SinkError("it broke at this one")
        if int(final.id[-3:]) in self.refuses_for_good:
            raise SinkRefusedError("it is too long")
        self.got.append(int(final.id[-3:]))
        self.before_return()

    async def close(self) -> None:
        self.calls.append("close")
        if self.hangs_at_close:
            await asyncio.Event().wait()


class Brokered(Recording):
    """The sink of MQTT with a real broker. `got`: what the broker has acknowledged."""

    numbers = itertools.count()
    device_id = ""

    def __init__(self) -> None:
        from flowpi.publish.mqtt.sink import MqttSink

        super().__init__()
        self.sink = MqttSink(MqttSettings(shared_broker().url), self.device_id)
        self.filters = self.sink.filters

    @classmethod
    def new_destination(cls) -> None:
        cls.device_id = f"desk-{next(cls.numbers)}"

    async def position_there(self) -> bytes | None:
        return await self.sink.position_there()

    def note_position(self, position: bytes) -> None:
        self.sink.note_position(position)

    async def open(self) -> None:
        await super().open()
        await self.sink.open()

    def receive(self, message: Message, retained: bool) -> None:
        super().receive(message, retained)
        self.sink.receive(message, retained)

    async def write(self, final: Final) -> None:
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        await self.sink.write(final)
        self.got.append(int(final.id[-3:]))
        self.before_return()

    async def wait_lost(self) -> None:
        await self.sink.wait_lost()

    async def close(self) -> None:
        await self.sink.close()
        await super().close()


class Hooked(Recording):
    """The sink of a webhook with a real receiver. `got`: what the receiver accepted, before `write` returned."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver = Receiver(SECRET)
        self._sink: Sink | None = None

    async def open(self) -> None:
        await super().open()
        await self._receiver.start()
        if self._sink is None:
            self._sink = webhook.make(WebhookSettings(self._receiver.url, Secret("literal", SECRET)), None)
        await self._sink.open()

    async def write(self, final: Final) -> None:
        assert self._sink is not None
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        await self._sink.write(final)
        self.got = self._receiver.texts
        self.before_return()

    async def close(self) -> None:
        if self._sink is not None:
            await self._sink.close()
        await self._receiver.stop()
        await super().close()


MakeSink = Callable[[], Recording]
KINDS: dict[str, type[Recording]] = {"recording": Recording, "mqtt": Brokered, "webhook": Hooked}
"""The destination of each kind. A new row of `SINKS` adds one here, with the levers of `Recording`."""
