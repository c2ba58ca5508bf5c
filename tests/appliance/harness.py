"""A conductor whose microphone, delivery, cues and disk do what a test asks of them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from flowpi.appliance.announcer import Announcer
from flowpi.appliance.conductor import Conductor
from flowpi.appliance.endings import Endings
from flowpi.appliance.inbox import Inbox
from flowpi.appliance.microphone import CaptureAudience
from flowpi.appliance.requests import RequestHandler
from flowpi.appliance.sink_requests import SinkRequests
from flowpi.appliance.spool_requests import SpoolRequests
from flowpi.appliance.statistics import Statistics
from flowpi.appliance.text_requests import TextRequests
from flowpi.appliance.utterances import Utterances
from flowpi.audio.cues import Cue
from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Timings
from flowpi.config.schema import Config
from flowpi.core.appliance import State
from flowpi.core.errors import MicrophoneError, SpoolError
from flowpi.core.gestures import Gestures
from flowpi.core.rules import Rules
from flowpi.core.ulid import UlidFactory
from flowpi.delivery.backlog import Waiting
from flowpi.panel.led import LedPlayer, RecordingLed
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final, Problem, Request
from flowpi.publish.publisher import Publisher
from flowpi.spool.spool import Spool
from flowpi.wire.roles import FinalText

DEAD = MicrophoneError("mic", "No such device", "plug it in")


class FakeCapture:
    """`dead`: nothing to record from. `rolling`: what is ended is complete only when a test finishes it."""

    def __init__(self, on_fault: Callable[[MicrophoneError], None]) -> None:
        self.dead = False
        self.rolling = False
        self.gaps = 0
        self.lost_frames = 0
        self.log: list[tuple[str, str]] = []
        self.begun_at: list[float] = []
        self.utterances: list[Utterance] = []
        self._on_fault = on_fault

    def begin(self, entry: Utterance, at: float) -> None:
        self.log.append(("begin", entry.id))
        if self.dead:
            self._on_fault(DEAD)
            raise DEAD
        self.begun_at.append(at)
        self.utterances.append(entry)

    def end(self, entry: Utterance, at: float) -> None:
        self.log.append(("end", entry.id))
        if not self.rolling:
            entry.finish(at)

    def drop(self, entry: Utterance) -> None:
        self.log.append(("drop", entry.id))
        entry.finish(0.0)

    def close(self) -> None:
        self.log.append(("close", ""))

    def start(self) -> None:
        self.log.append(("start", ""))

    def continue_in(self, entry: Utterance, following: Utterance, until: float, on_next: Callable[[], None]) -> None:
        self.log.append(("continue in", entry.id))
        self.following = entry, following, until
        self.pause = on_next


class FakeDelivery:
    """`on_disk`: what an utterance is as soon as it is complete; None: not yet. `connect`: the first step of the task
    of a delivery."""

    def __init__(self) -> None:
        self.spooled = 0
        self.backend: str | None = None
        self.on_disk: bool | None = True
        self.begun: list[Utterance] = []
        self.begun_again: list[str | None] = []
        self.dropped: list[PartId] = []
        self.left: list[Waiting] = []
        self.memory_full = False
        self.connect: Callable[[], None] = lambda: None

    def waiting(self) -> list[Waiting]:
        return self.left

    async def recorded(self, utterance_id: str) -> bool:
        durable = [one.durable for one in self.begun if one.id == utterance_id and one.durable]
        return all([await asyncio.shield(future) for future in durable])

    def begin_again(self, utterance: Utterance) -> None:
        self.begun_again.append(utterance.about.profile)

    def begin(self, utterance: Utterance) -> None:
        utterance.durable = asyncio.get_running_loop().create_future()
        self.begun.append(utterance)
        asyncio.get_running_loop().call_soon(self.connect)
        if self.on_disk is not None:
            utterance.durable.set_result(self.on_disk)

    def drop(self, part: PartId) -> None:
        self.dropped.append(part)

    def add(self, parts: Iterable[PartId]) -> None:
        raise NotImplementedError

    def retry(self, parts: Iterable[PartId] | None = None) -> None:
        raise NotImplementedError


class FakeCues:
    def __init__(self) -> None:
        self.log: list[str] = []

    def play(self, cue: Cue) -> None:
        self.log.append(cue.value)

    def stop(self) -> None:
        self.log.append("hush")

    def close(self) -> None:
        pass


class ConductorHarness:
    def __init__(self, rules: Rules, directory: Path) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub()
        self.said: list[tuple[str, Any]] = []
        self.hub.subscribe(["#"], self._hear)
        self.light: list[float] = []
        self.led_player = LedPlayer(lambda error: None)
        self.led_player.replace(RecordingLed(self.light.append))
        self.committed: list[Final] = []
        self.disk_full = False
        self.told: list[tuple[str, int]] = []
        self.inbox = Inbox()
        utterances = Utterances()
        self.microphone = CaptureAudience(self.inbox, utterances, self.hub)
        self.capture = FakeCapture(self.microphone.lost)
        self.delivery = FakeDelivery()
        self.cues = FakeCues()
        self.statistics = Statistics(self.hub, self.capture)
        endings = Endings()
        self.announcer = Announcer(self.inbox, self.hub, self, utterances, self.statistics, endings)
        self.conductor = Conductor(
            rules,
            {None: Gestures()},
            inbox=self.inbox,
            hub=self.hub,
            microphone=self.capture,
            delivery=self.delivery,
            utterances=utterances,
            announcer=self.announcer,
            ids=UlidFactory(),
            led_player=self.led_player,
            cues=self.cues,
            is_pressed=lambda line: None,
            on_state=self._tell,
        )
        spool_requests = SpoolRequests(Spool(directory), self, self.delivery, utterances, self.announcer)
        transcripts = Transcripts(directory / "transcripts", 30)
        publisher = Publisher(
            Config(),
            self.hub,
            transcripts,
            directory / "sinks",
            fault=self.inbox.raise_fault,
            clear=self.inbox.clear_fault,
        )
        self.requests = RequestHandler(
            self.conductor,
            self.delivery,
            utterances,
            self.statistics,
            spool_requests,
            endings,
            SinkRequests(publisher),
            TextRequests(History(transcripts), transcripts),
        )
        self.conductor.open()
        self.statistics.publish()

    def _hear(self, message: Message, retained: bool) -> None:
        self.said.append((message.topic, msgspec.to_builtins(message.payload)))

    def _tell(self, state: State, spooled: int) -> None:
        self.told.append((state.name, spooled))

    def ids(self) -> set[tuple[str, int]]:
        return set()

    async def append(self, final: Final, unix_s: float) -> None:
        assert ("transcript/final", msgspec.to_builtins(final)) in self.said
        if self.disk_full:
            raise SpoolError("the disk is full", "free some space")
        self.committed.append(final)

    def of(self, topic: str) -> list[Any]:
        return [payload for heard, payload in self.said if heard == topic]

    @property
    def states(self) -> list[str]:
        """As published, the same one after the other once."""
        names = [payload["state"] for payload in self.of("state")]
        return [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]]

    @property
    def faults(self) -> list[str]:
        return [fault["code"] for fault in self.of("state")[-1]["faults"]]

    async def record(self, action: str, **more: Any) -> dict[str, Any]:
        answer = await self.requests.handle(Request(command="record", action=action, **more))
        assert not isinstance(answer, Problem), answer
        return answer

    async def refused(self, **request: Any) -> Problem:
        answer = await self.requests.handle(Request(**request))
        assert isinstance(answer, Problem)
        return answer

    def press(self) -> None:
        self.conductor.edge(None, True, self.loop.time())

    def release(self) -> None:
        self.conductor.edge(None, False, self.loop.time())

    async def tap(self) -> None:
        self.press()
        await asyncio.sleep(0.1)
        self.release()
        await asyncio.sleep(0.1)

    async def publish(self, utterance: Utterance, text: str = "It was.", late: bool = False) -> None:
        """As the delivery does when a backend answered."""
        now = self.loop.time()
        timings = Timings(first_packet_at=now - 2, committed_at=now - 1, final_at=now)
        await self.announcer.publish(utterance, FinalText(text, "en"), "house", timings, late)
        self.announcer.delivered(utterance)


@asynccontextmanager
async def starting(rules: Rules | None = None) -> AsyncIterator[ConductorHarness]:
    """A conductor that is not ready yet."""
    with tempfile.TemporaryDirectory() as directory:
        harness = ConductorHarness(rules or Rules(), Path(directory))
        yield harness
        harness.led_player.close()


@asynccontextmanager
async def opened(rules: Rules | None = None) -> AsyncIterator[ConductorHarness]:
    """A conductor that is ready for the first press."""
    async with starting(rules) as harness:
        harness.conductor.settled()
        harness.conductor.started()
        yield harness
