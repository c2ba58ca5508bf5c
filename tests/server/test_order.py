"""What goes first: what is heard and final texts do not wait for interim texts, however many are wanted."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection

from flowpi.dsp.format import BYTES_PER_S
from flowpi.host.cpus import usable_cpus
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText, PartialText, SessionReady
from tests.server.calling import DASH, connect, echo_of
from tests.sound import noise
from tests.waiting import PATIENCE_S, until


class Previewing(EchoRecognition):
    """A recognition whose preview stands still until the lever `go` of its engine is set, or it has to hurry."""

    def __init__(self, engine: "PreviewingEngine") -> None:
        super().__init__()
        self._engine = engine
        self._halted = threading.Event()
        self._heard_s = self._previewed_s = 0

    def feed(self, pcm: bytes) -> str | None:
        self._heard_s += len(pcm) // BYTES_PER_S
        return super().feed(pcm)

    @property
    def preview_due(self) -> bool:
        return self._heard_s > self._previewed_s

    def preview(self) -> str | None:
        self._engine.previews += 1
        self._engine.standing += 1
        while not (self._engine.go.wait(0.01) or self._halted.is_set()):
            pass
        self._engine.standing -= 1
        self._previewed_s = self._heard_s
        return f"preview of {self._heard_s} s"

    def hurry(self) -> None:
        self._halted.set()


class PreviewingEngine(EchoEngine):
    def __init__(self) -> None:
        self.go = threading.Event()
        self.previews = 0
        self.standing = 0

    def recognition(self, expected: Expected) -> Previewing:
        return Previewing(self)


class Speaker:
    """A client that speaks a second at a time; `texts` are all that it was sent."""

    def __init__(self, link: ClientConnection) -> None:
        self._link = link
        self._client = FlowClient()
        self.said = b""
        self.texts: list[str] = []
        self.final: str | None = None

    async def open(self) -> None:
        self._client.open()
        await self._flush()
        assert self._client.receive(await self._link.recv()) == [SessionReady()]

    async def say(self) -> None:
        second = noise(1, len(self.said))
        self.said += second
        self._client.append(second)
        await self._flush()

    async def commit(self) -> None:
        self._client.commit(b"")
        await self._flush()

    async def listen(self) -> None:
        async for frame in self._link:
            for event in self._client.receive(frame):
                match event:
                    case PartialText(text):
                        self.texts.append(text)
                    case FinalText(text):
                        self.final = text

    async def _flush(self) -> None:
        for frame in self._client.data_to_send():
            await self._link.send(frame)


class Room:
    """A server with speakers."""

    def __init__(self, engine: PreviewingEngine, server: Server, stack: contextlib.AsyncExitStack) -> None:
        self.engine = engine
        self._server = server
        self._stack = stack

    async def speaker(self) -> Speaker:
        """Return a new one that has said a second."""
        headers = {"Encoding": "msgpack"}
        link = await self._stack.enter_async_context(connect(self._server, f"{DASH}/ws", additional_headers=headers))
        speaker = Speaker(link)
        await speaker.open()
        listening = asyncio.create_task(speaker.listen())
        self._stack.callback(listening.cancel)
        await speaker.say()
        return speaker

    async def busy(self) -> list[Speaker]:
        """Return one speaker for each thread of the interim texts, whose preview stands still on it."""
        speakers = [await self.speaker() for _ in range(usable_cpus())]
        await until(lambda: self.engine.standing == len(speakers))
        return speakers


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    engine = PreviewingEngine()
    async with (
        Server(["127.0.0.1:0"], engine, max_sessions=100) as server,
        contextlib.AsyncExitStack() as stack,
        asyncio.timeout(2 * PATIENCE_S),
    ):
        yield Room(engine, server, stack)
        engine.go.set()


async def test_what_is_heard_does_not_wait_for_interim_texts(room: Room) -> None:
    await room.busy()
    speaker = await room.speaker()
    await until(lambda: speaker.texts == ["echo 1 s"])
    await speaker.say()  # its own preview still waits for its turn
    await until(lambda: speaker.texts == ["echo 1 s", "echo 2 s"])
    assert room.engine.standing == usable_cpus()


async def test_those_whose_interim_text_is_being_made_keep_nobody_from_being_heard(room: Room) -> None:
    for speaker in await room.busy():
        await speaker.say()
    for _ in range(usable_cpus()):  # time enough for all of that to reach a thread
        speaker = await room.speaker()
        await until(lambda: speaker.texts == ["echo 1 s"])  # noqa: B023


async def test_one_interim_text_does_for_all_that_was_said_while_it_waited(room: Room) -> None:
    await room.busy()
    speaker = await room.speaker()
    await until(lambda: speaker.texts == ["echo 1 s"])
    await speaker.say()
    await until(lambda: speaker.texts == ["echo 1 s", "echo 2 s"])
    room.engine.go.set()
    await until(lambda: "preview of 2 s" in speaker.texts)
    last = await room.speaker()  # whose preview would come after another one
    await until(lambda: "preview of 1 s" in last.texts)
    assert room.engine.previews == usable_cpus() + 2


async def test_a_final_text_waits_for_no_interim_text(room: Room) -> None:
    first, *_ = await room.busy()
    waits = await room.speaker()
    for speaker in (first, waits):
        await speaker.commit()
        await until(lambda: speaker.final is not None)  # noqa: B023
        assert speaker.final == echo_of(speaker.said)
        assert "preview of 1 s" not in speaker.texts, "nor is one shown after it"
