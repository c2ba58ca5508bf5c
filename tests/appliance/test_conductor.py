"""The flows of the appliance, with a microphone, a delivery and a disk that do what a test says."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from flowpi.appliance.conductor import Conductor
from flowpi.appliance.requests import RequestHandler
from flowpi.audio.capture import Capture
from flowpi.audio.cues import Cue
from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.result import Timings
from flowpi.core.appliance import Mode, Rules, State
from flowpi.core.errors import MicrophoneError, PanelError, SpoolError
from flowpi.core.events import StopCommanded
from flowpi.core.faults import LED
from flowpi.core.gestures import Gestures
from flowpi.core.indicator import light
from flowpi.core.lights import (
    DELIVERED,
    KEPT,
    MUTED_LIGHT,
    NO_BACKEND,
    NO_NETWORK,
    READY,
    SHUTTING_DOWN,
    STARTING,
    Pattern,
)
from flowpi.core.ulid import UlidFactory, is_ulid
from flowpi.delivery.backlog import Waiting
from flowpi.delivery.delivery import Delivery
from flowpi.dsp.level import Level
from flowpi.panel.led import LedPlayer, RecordingLed
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final, Problem, Request
from flowpi.spool.spool import Spool
from flowpi.wire.flow_messages import App, Context
from flowpi.wire.roles import FinalText, PartialText
from tests import clock
from tests.sound import noise, spoken, ulid
from tests.waiting import ticks

SOUND = noise(0.5)
DEAD = MicrophoneError("mic", "No such device", "plug it in")


class FakeCapture:
    """`dead`: nothing to record from. `rolling`: the post-roll takes until `post_roll_over`."""

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
    """`on_disk`: what an utterance is as soon as it is complete; None: not yet."""

    def __init__(self) -> None:
        self.spooled = 0
        self.backend: str | None = None
        self.on_disk: bool | None = True
        self.begun: list[Utterance] = []
        self.dropped: list[PartId] = []
        self.left: list[Waiting] = []
        self.memory_full = False

    def waiting(self) -> list[Waiting]:
        return self.left

    async def recorded(self, utterance_id: str) -> bool:
        durable = [one.durable for one in self.begun if one.id == utterance_id and one.durable]
        return all([await asyncio.shield(future) for future in durable])

    def begin(self, utterance: Utterance) -> None:
        utterance.durable = asyncio.get_running_loop().create_future()
        self.begun.append(utterance)
        if self.on_disk is not None:
            utterance.durable.set_result(self.on_disk)

    def drop(self, part: PartId) -> None:
        self.dropped.append(part)


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
        self.conductor = Conductor(
            rules,
            Gestures(),
            hub=self.hub,
            led_player=self.led_player,
            ids=UlidFactory(),
            transcripts=self,
            on_state=self._tell,
        )
        self.capture = FakeCapture(self.conductor.microphone_lost)
        self.delivery = FakeDelivery()
        self.commands = RequestHandler(self.conductor, Spool(directory), self)
        self.conductor.cues = self.cues = FakeCues()
        self.conductor.open(cast(Capture, self.capture), cast(Delivery, self.delivery))

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
        answer = await self.commands.carry_out(Request(command="record", action=action, **more))
        assert not isinstance(answer, Problem), answer
        return answer

    async def refused(self, **request: Any) -> Problem:
        answer = await self.commands.carry_out(Request(**request))
        assert isinstance(answer, Problem)
        return answer

    def press(self) -> None:
        self.conductor.edge(True, self.loop.time())

    def release(self) -> None:
        self.conductor.edge(False, self.loop.time())

    async def tap(self) -> None:
        self.press()
        await asyncio.sleep(0.1)
        self.release()
        await asyncio.sleep(0.1)

    async def publish(self, utterance: Utterance, text: str = "It was.", late: bool = False) -> None:
        """As the delivery does when a backend answered."""
        now = self.loop.time()
        timings = Timings(first_packet_at=now - 2, committed_at=now - 1, final_at=now)
        await self.conductor.outcomes.publish(utterance, FinalText(text, "en"), "house", timings, late)
        self.conductor.outcomes.delivered(utterance)


Scene = Callable[[ConductorHarness], Awaitable[None]]


@asynccontextmanager
async def opened(rules: Rules) -> AsyncIterator[ConductorHarness]:
    with tempfile.TemporaryDirectory() as directory:
        harness = ConductorHarness(rules, Path(directory))
        harness.conductor.settled()
        harness.conductor.started()
        yield harness
        harness.led_player.close()


def stage(scene: Scene, rules: Rules | None = None) -> None:
    async def main() -> None:
        async with opened(rules or Rules()) as harness:
            await scene(harness)

    clock.run(main())


def played(pattern: Pattern) -> list[float]:
    """What an LED of one colour shows of one cycle."""
    return [brightness for brightness, _ in pattern.steps]


class TestCommands:
    def test_start_and_stop(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            started = await harness.record("start")
            assert started["state"] == "recording"
            assert is_ulid(started["utterance"])
            assert await harness.record("stop") == {
                "state": "finishing",
                "utterance": started["utterance"],
                "recorded": True,
            }
            assert harness.capture.log == [("begin", started["utterance"]), ("end", started["utterance"])]
            assert harness.delivery.begun == harness.capture.utterances

        stage(scene)

    def test_each_again_changes_nothing(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            started = await harness.record("start")
            assert await harness.record("start") == started
            stopped = await harness.record("stop")
            assert await harness.record("stop") == stopped
            await harness.publish(harness.delivery.begun[0])
            for action in ("stop", "cancel", "cancel"):
                assert await harness.record(action) == {"state": "idle", "utterance": None}
            assert len(harness.capture.log) == 2

        stage(scene)

    def test_toggle(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            states = [(await harness.record("toggle"))["state"] for _ in range(4)]
            assert states == ["recording", "finishing", "recording", "finishing"]
            assert len(harness.delivery.begun) == 2

        stage(scene)

    @pytest.mark.parametrize("action", ["stop", "toggle"])
    @pytest.mark.parametrize("on_disk", [True, False])
    def test_stop_is_answered_when_the_audio_is_on_the_disk_or_cannot_be(self, action: str, on_disk: bool) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.rolling, harness.delivery.on_disk = True, None
            await harness.record("start")
            stopping = asyncio.create_task(harness.record(action))
            utterance = harness.delivery.begun[0]
            assert utterance.durable is not None
            await ticks()
            assert not stopping.done()  # the post-roll
            utterance.finish(1.0)
            await ticks()
            assert not stopping.done()  # the disk
            utterance.durable.set_result(on_disk)
            assert (await stopping)["state"] == "finishing"

        stage(scene)

    @pytest.mark.parametrize("finishing", [False, True])
    def test_cancel_forgets_what_was_said(self, finishing: bool) -> None:
        async def scene(harness: ConductorHarness) -> None:
            utterance_id = (await harness.record("start"))["utterance"]
            if finishing:
                await harness.record("stop")
            assert await harness.record("cancel") == {"state": "idle", "utterance": None}
            assert harness.capture.log[-1] == ("drop", utterance_id)
            assert harness.delivery.dropped == [PartId(utterance_id)]
            assert harness.conductor.outcomes.stats().cancelled == 1

        stage(scene)

    def test_while_it_starts_it_refuses(self, tmp_path: Path) -> None:
        async def main() -> None:
            harness = ConductorHarness(Rules(), tmp_path)
            for action in ("start", "toggle"):
                problem = await harness.refused(command="record", action=action)
                assert problem == Problem("starting", "still starting: try again in a moment")
            assert (await harness.record("stop"))["state"] == "starting"
            harness.led_player.close()

        clock.run(main())

    def test_what_is_no_command_is_said(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            problem = await harness.refused(command="record", action="dance")
            assert problem == Problem("bad_request", "action is one of: start, stop, toggle, cancel")
            assert await harness.refused(command="record") == problem
            problem = await harness.refused(command="x" * 1000)
            assert problem == Problem("unknown_command", f"'{'x' * 40}' is none of: record, spool, status")
            assert await harness.refused() == Problem("bad_request", "a request has a subscribe or a command")

        stage(scene)

    def test_status(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.gaps, harness.capture.lost_frames = 2, 1600
            utterance_id = (await harness.record("start"))["utterance"]
            answer = await harness.commands.carry_out(Request(command="status"))
            status = msgspec.to_builtins(answer)["status"]
            assert status["state"]["state"] == "recording"
            assert status["state"]["utterance"] == utterance_id
            assert (status["stats"]["dictations"], status["stats"]["gaps"], status["stats"]["lost_ms"]) == (1, 2, 100)

        stage(scene)


class TestContext:
    def test_it_goes_with_this_dictation_only(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start", context={"app": {"name": "Notes"}})
            await harness.tap()
            await asyncio.sleep(1)
            harness.press()
            contexts = [utterance.about.context for utterance in harness.delivery.begun]
            assert contexts == [Context(app=App(name="Notes")), Context()]

        stage(scene)

    @pytest.mark.parametrize(
        ("context", "message"),
        [
            ([1], "context: Expected `object`, got `array`"),
            ({"ap": {}}, "context: Object contains unknown field `ap`"),
            ({"app": {"type": "mail"}}, "context.app.type: Invalid enum value 'mail'"),
            ({"dictionary_context": "Gabapentin"}, "context.dictionary_context: Expected `array`, got `str`"),
            ({"screenshot": "not base64"}, "context.screenshot: Invalid base64 encoded string"),
        ],
    )
    def test_one_that_the_service_does_not_know_is_refused(self, context: Any, message: str) -> None:
        async def scene(harness: ConductorHarness) -> None:
            problem = await harness.refused(command="record", action="start", context=context)
            assert problem == Problem("bad_request", message)
            assert harness.capture.log == []

        stage(scene)

    def test_a_picture_comes_as_base64(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start", context={"screenshot": "AAEC"})
            (utterance,) = harness.delivery.begun
            assert utterance.about.context.screenshot == b"\0\1\2"

        stage(scene)


class TestMicrophone:
    def test_a_dead_one_refuses(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.microphone_lost(DEAD)
            for action in ("start", "toggle"):
                problem = await harness.refused(command="record", action=action)
                assert problem == Problem("microphone", "no sound from 'mic' (No such device): plug it in")
            assert (await harness.record("stop"))["state"] == "idle"
            assert harness.faults == ["microphone"]
            harness.conductor.microphone_silent(True)
            assert harness.faults == ["microphone", "silence"]
            harness.conductor.microphone_silent(False)
            harness.conductor.microphone_back()
            assert harness.faults == []
            assert (await harness.record("start"))["state"] == "recording"

        stage(scene)

    def test_one_that_is_found_dead_by_the_press_refuses(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.dead = True
            problem = await harness.refused(command="record", action="start")
            assert problem == Problem("microphone", str(DEAD))
            assert harness.conductor.state.name == "idle"
            assert harness.faults == ["microphone"]
            assert harness.states == ["starting", "idle"]  # nobody sees a recording that lasted no time
            assert harness.delivery.begun == []
            assert harness.conductor.outcomes.stats().dictations == 0

        stage(scene)

    def test_found_dead_by_the_press_what_was_said_before_goes_its_way(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            harness.capture.dead = True
            await harness.refused(command="record", action="start")
            assert harness.delivery.dropped == []
            await harness.publish(harness.delivery.begun[0])
            assert len(harness.committed) == 1

        stage(scene)

    def test_lost_while_one_speaks_what_was_said_goes_its_way(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            utterance_id = (await harness.record("start"))["utterance"]
            harness.conductor.microphone_lost(DEAD)
            assert harness.capture.log[-1] == ("end", utterance_id)
            assert harness.conductor.state.name == "finishing"
            assert harness.delivery.dropped == []

        stage(scene)


class TestButton:
    def test_hold_to_talk(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await asyncio.sleep(1)
            harness.press()
            await asyncio.sleep(1)
            harness.release()
            assert harness.capture.begun_at == [1.0]
            await harness.publish(harness.delivery.begun[0])
            assert harness.states == ["starting", "idle", "recording", "finishing", "idle"]
            assert [payload["kind"] for payload in harness.of("event/button")] == ["pressed", "hold", "released"]

        stage(scene)

    def test_an_edge_that_is_handled_late_counts_from_when_it_was(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await asyncio.sleep(1)
            harness.conductor.edge(True, 0.5)
            assert harness.capture.begun_at == [0.5]

        stage(scene)

    def test_a_tap_starts_and_a_tap_stops(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.tap()
            assert harness.conductor.state.name == "recording"
            await asyncio.sleep(5)
            await harness.tap()
            assert harness.conductor.state.name == "finishing"
            assert [kind for kind, _ in harness.capture.log] == ["begin", "end"]

        stage(scene)

    def test_a_double_tap_cancels(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.tap()
            await harness.tap()
            assert harness.conductor.state.name == "idle"
            assert len(harness.delivery.dropped) == 1
            kinds = [payload["kind"] for payload in harness.of("event/button")]
            assert kinds == ["pressed", "released", "tap", "pressed", "released", "double"]

        stage(scene)

    def test_a_double_tap_just_after_a_recording_cancels_that_too(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.press()
            await asyncio.sleep(1)
            harness.release()
            await asyncio.sleep(0.2)
            await harness.tap()
            await harness.tap()
            assert len(harness.delivery.dropped) == 2
            assert harness.conductor.state.name == "idle"

        stage(scene)

    def test_long_speech_goes_on_in_parts(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.press()
            await asyncio.sleep(8.01)
            assert harness.conductor.state.name == "recording"
            first, second, until = harness.capture.following
            assert until == pytest.approx(10.0, abs=0.1)
            first.append(SOUND)
            first.finish(9.0)
            harness.capture.pause()
            assert harness.delivery.begun == [first, second]
            assert second.part_id == (first.id, 2)
            await asyncio.sleep(0.1)
            harness.release()
            assert harness.capture.log[-1] == ("end", first.id)
            assert second.complete
            await harness.publish(first)
            assert harness.conductor.state.name == "finishing"  # the text of the second part is awaited
            await harness.publish(second)
            assert harness.conductor.state.name == "idle"
            assert [(final["id"], final["part"]) for final in harness.of("transcript/final")] == [
                (first.id, 1),
                (first.id, 2),
            ]
            assert harness.conductor.outcomes.stats().dictations == 1

        stage(scene, Rules(max_utterance_s=10.0, finish_timeout_s=4.0))

    def test_a_double_tap_cancels_all_parts(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await asyncio.sleep(8.01)
            first, second, _ = harness.capture.following
            first.finish(9.0)
            harness.capture.pause()
            harness.conductor.outcomes.deferred(first, "no answer")
            harness.delivery.left = [Waiting(first.part_id, "no answer", 1, False, False, False)]
            await harness.record("cancel")
            assert sorted(harness.delivery.dropped) == [first.part_id, second.part_id]

        stage(scene, Rules(max_utterance_s=10.0))

    def test_other_rules_count_from_the_next_event(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.replace(Rules(mode=Mode.TOGGLE), Gestures())
            harness.press()
            await asyncio.sleep(1)
            harness.release()
            assert harness.conductor.state.name == "recording"

        stage(scene)


class TestNoRoom:
    def test_a_press_is_refused_with_words(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.delivery.memory_full = True
            refused = await harness.refused(command="record", action="start")
            assert refused.code == "spool"
            assert "flowpi spool list" in refused.message
            assert harness.capture.log == []
            assert harness.conductor.state.name == "idle"

        stage(scene)

    def test_long_speech_ends_with_the_part_that_filled_it(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            harness.delivery.memory_full = True
            await asyncio.sleep(8.01)
            utterance = harness.delivery.begun[0].id
            assert harness.capture.log == [("begin", utterance), ("end", utterance)]
            assert harness.conductor.state.name == "finishing"

        stage(scene, Rules(max_utterance_s=10.0))


class TestLight:
    def test_it_is_lit_exactly_while_audio_is_kept(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await asyncio.sleep(1)
            harness.light.clear()
            await harness.record("start")
            await asyncio.sleep(60)
            assert harness.light == [1.0]
            await harness.record("stop")
            await asyncio.sleep(0.35)
            assert harness.light[1:] == [1.0, 0.0, 1.0, 0.0]
            await harness.publish(harness.delivery.begun[0])
            await asyncio.sleep(60)
            assert harness.light[5:] == [*played(DELIVERED), 0.0]

        stage(scene)

    @pytest.mark.parametrize(("without_network", "shown"), [(True, NO_NETWORK), (False, NO_BACKEND)])
    def test_what_is_kept_for_later_shows_once_and_then_why(self, without_network: bool, shown: Pattern) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            harness.light.clear()
            harness.conductor.outcomes.deferred(harness.delivery.begun[0], "x", without_network=without_network)
            await asyncio.sleep(1.5 + 3.1)
            assert harness.light == [*played(KEPT), *played(shown), 1.0]

        stage(scene)

    def test_a_text_that_comes_late_is_no_moment(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await asyncio.sleep(1)
            harness.light.clear()
            await harness.publish(spoken(noise(1.0)), late=True)
            await asyncio.sleep(10)
            assert harness.light == []

        stage(scene)

    def test_a_press_cuts_a_moment_short(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            await harness.publish(harness.delivery.begun[0])
            await asyncio.sleep(0.2)
            harness.light.clear()
            await harness.record("start")
            await asyncio.sleep(10)
            assert harness.light == [1.0]

        stage(scene)

    def test_a_start_is_seen_also_where_the_button_is_there_at_once(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.light.clear()
            harness.conductor.settled()
            await asyncio.sleep(10)
            assert harness.light == [*played(STARTING) * 2, 0.0]

        stage(scene)

    def test_a_press_does_not_wait_for_the_end_of_the_start(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.settled()
            await asyncio.sleep(0.7)
            harness.light.clear()
            await harness.record("start")
            await asyncio.sleep(10)
            assert harness.light == [1.0]

        stage(scene)

    def test_a_stop_shows_until_the_end(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            harness.light.clear()
            harness.conductor.stop()
            await harness.record("stop")  # whatever comes
            await asyncio.sleep(0.95)
            assert harness.light == [*played(SHUTTING_DOWN) * 2]

        stage(scene)


class TestCues:
    def test_a_dictation(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.rolling = True
            harness.press()
            assert harness.cues.log == ["hush", "start"]
            await asyncio.sleep(1)
            harness.release()
            await ticks()
            assert harness.cues.log == ["hush", "start"]  # the post-roll is still being heard
            harness.capture.utterances[0].finish(1.2)
            await ticks()
            assert harness.cues.log[2:] == ["stop"]
            harness.conductor.outcomes.deferred(harness.delivery.begun[0], "no answer")
            assert harness.cues.log[3:] == ["kept"]

        stage(scene)

    def test_a_press_stops_what_is_being_played(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.tap()
            await harness.tap()
            assert harness.cues.log.count("hush") == 2

        stage(scene)

    def test_what_is_refused_and_what_is_lost_is_an_error(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.rolling = True
            harness.press()
            harness.conductor.microphone_lost(DEAD)
            harness.capture.utterances[0].finish(1.0, partial=True)
            await ticks()
            harness.release()
            await asyncio.sleep(1)
            harness.press()
            assert harness.cues.log == ["hush", "start", "error", "hush", "error"]

        stage(scene)

    def test_the_end_does_not_sound_into_the_next_recording(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.capture.rolling = True
            for _ in range(2):
                await harness.record("start")
                harness.conductor.handle(StopCommanded())
            await harness.record("start")
            for utterance in harness.capture.utterances[:2]:
                utterance.finish(1.0)
            await ticks()
            assert harness.cues.log == ["start"] * 3

        stage(scene)

    def test_a_text_is_not_told_by_a_tone(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            await harness.publish(harness.delivery.begun[0])
            await asyncio.sleep(10)
            assert harness.cues.log == ["start", "stop"]

        stage(scene)


class TestMute:
    def test_a_long_press_closes_the_microphone_and_the_next_one_opens_it(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.tap()
            harness.press()
            await asyncio.sleep(9.9)
            assert harness.faults == []
            await asyncio.sleep(0.2)
            assert harness.conductor.state.name == "recording"
            harness.release()
            assert [kind for kind, _ in harness.capture.log[-2:]] == ["end", "close"]
            assert harness.faults == ["muted"]
            await harness.publish(harness.delivery.begun[-1], "Mute it.")
            assert light(harness.conductor.state) is MUTED_LIGHT
            refused = await harness.refused(command="record", action="start")
            assert refused.code == "muted"
            assert "hold the button for 10 s" in refused.message
            harness.press()
            await asyncio.sleep(10.1)
            assert harness.capture.log[-1] == ("start", "")
            assert (harness.faults, harness.conductor.muted) == ([], False)
            harness.release()
            assert [payload["kind"] for payload in harness.of("event/button")].count("long") == 2

        stage(scene)

    def test_a_press_that_is_spoken_into_never_mutes(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.press()
            await asyncio.sleep(5)
            harness.conductor.microphone_lost(DEAD)  # it is recorded no more, and the finger does not know
            await asyncio.sleep(10)
            harness.release()
            assert not harness.conductor.muted
            assert "long" not in [payload["kind"] for payload in harness.of("event/button")]

        stage(scene)

    def test_a_press_that_was_refused_may_mute(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.microphone_lost(DEAD)
            harness.press()
            await asyncio.sleep(10.1)
            assert harness.conductor.muted

        stage(scene)


class TestWhatBecomesOfIt:
    def test_the_final_text(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await asyncio.sleep(10)
            await harness.record("start")
            utterance = harness.delivery.begun[0]
            utterance.append(noise(1.5))
            await asyncio.sleep(1.5)
            await harness.record("stop")
            await asyncio.sleep(0.25)
            await harness.publish(utterance, "It was.")
            (final,) = harness.of("transcript/final")
            assert final == {
                "id": utterance.id, "part": 1, "text": "It was.", "language": "en", "backend": "house",
                "started_at": final["started_at"], "duration_s": 1.5, "final_after_s": 0.25, "late": False,
            }  # fmt: skip
            assert [one.id for one in harness.committed] == [utterance.id]
            stats = harness.of("stats")[-1]
            assert stats["delivered"] == stats["dictations"] == 1
            timings = [stats[f"{name}_ms"] for name in ("press_to_first_packet", "release_to_commit")]
            assert timings == [-250.0, -750.0]  # by the times that this test's delivery made up
            assert stats["release_to_final_ms"] == 250.0
            assert stats["final_to_published_ms"] == 0.0

        stage(scene)

    def test_one_that_was_not_confirmed_says_so(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            utterance = spoken(bytes(3200))
            await harness.conductor.outcomes.publish(
                utterance, FinalText("It was.", "en", confirmed=False), "x", Timings(), False
            )
            await harness.conductor.outcomes.publish(
                spoken(bytes(3200), ulid(2)), FinalText("", "en"), "x", Timings(), False
            )
            unconfirmed, confirmed = harness.of("transcript/final")
            assert unconfirmed["confirmed"] is False
            assert "confirmed" not in confirmed

        stage(scene)

    def test_one_of_an_earlier_life_has_no_timings(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.publish(spoken(noise(1.0)), late=True)
            (final,) = harness.of("transcript/final")
            assert (final["late"], final["final_after_s"], final["duration_s"]) == (True, None, 1.0)
            assert harness.of("stats")[-1]["release_to_final_ms"] is None

        stage(scene)

    def test_a_text_that_cannot_be_kept_is_a_fault_until_one_can(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            harness.disk_full = True
            with pytest.raises(SpoolError):
                await harness.publish(harness.delivery.begun[0])
            assert harness.faults == ["transcripts"]
            harness.conductor.outcomes.deferred(harness.delivery.begun[0], "the disk is full")
            assert harness.faults == ["transcripts"]  # the backend did its part
            assert harness.conductor.outcomes.stats().delivered == 0
            harness.disk_full = False
            await harness.publish(harness.delivery.begun[0])
            assert harness.faults == []
            assert len(harness.of("transcript/final")) == 1  # who heard it need not hear it again

        stage(scene)

    def test_deferred_and_delivered_late(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            utterance = harness.delivery.begun[0]
            harness.delivery.spooled = 1
            harness.conductor.outcomes.deferred(utterance, "no answer")
            assert harness.of("transcript/failed") == [
                {"id": utterance.id, "part": 1, "reason": "no answer", "retry": True}
            ]
            assert (harness.faults, harness.of("state")[-1]["spooled"]) == (["backend"], 1)
            assert harness.conductor.state.name == "idle"
            harness.delivery.spooled = 0
            harness.conductor.outcomes.backlog_changed()
            assert harness.of("state")[-1]["spooled"] == 0
            harness.delivery.backend = "house"
            await harness.publish(utterance, late=True)
            assert (harness.faults, harness.of("state")[-1]["backend"]) == ([], "house")
            assert harness.told[-1] == ("idle", 0)
            assert (harness.conductor.outcomes.stats().deferred, harness.conductor.outcomes.stats().delivered) == (1, 1)

        stage(scene)

    def test_without_a_network_is_a_fault_of_its_own(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            for without_network, code in ((True, "network"), (False, "backend"), (True, "network")):
                await harness.record("start")
                await harness.record("stop")
                utterance = harness.delivery.begun[-1]
                harness.conductor.outcomes.deferred(utterance, "x", without_network=without_network)
                assert harness.faults == [code]
            await harness.publish(utterance, late=True)
            assert harness.faults == []

        stage(scene)

    def test_what_its_owner_drops_is_neither_kept_nor_delivered(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            harness.light.clear()
            harness.conductor.outcomes.dropped(harness.delivery.begun[0].part_id)
            await asyncio.sleep(10)
            assert harness.conductor.state.name == "idle"
            assert harness.light == [0.0]

        stage(scene)

    def test_the_next_press_does_not_wait_for_the_text(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            for _ in range(2):
                await harness.record("start")
                await harness.record("stop")
            first, second = harness.delivery.begun
            await harness.publish(first)
            assert harness.conductor.state.name == "finishing"
            await harness.publish(second)
            assert harness.conductor.state.name == "idle"

        stage(scene)

    def test_a_text_that_does_not_come_is_told_and_comes_late(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            await harness.record("stop")
            await asyncio.sleep(5)
            assert (harness.conductor.state.name, harness.faults) == ("idle", ["backend"])
            assert light(harness.conductor.state) is NO_BACKEND
            await harness.publish(harness.delivery.begun[0])
            assert harness.of("transcript/final")[0]["late"]
            assert harness.faults == []

        stage(scene, Rules(finish_timeout_s=4.0))

    def test_digital_silence_is_a_failure_and_no_text(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            harness.delivery.begun[0].append(bytes(32_000))
            await harness.record("stop")
            await harness.publish(harness.delivery.begun[0], "Thank you.")
            assert harness.of("transcript/final") == []
            assert harness.committed == []
            (failed,) = harness.of("transcript/failed")
            assert not failed["retry"]
            assert harness.conductor.state.name == "idle"
            await asyncio.sleep(0.5)
            assert harness.light[-1] == 0.0  # no moment: nothing was delivered
            assert (harness.conductor.outcomes.stats().delivered, harness.conductor.outcomes.stats().failed) == (0, 1)

        stage(scene)

    def test_what_is_cut_short_says_so(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            utterance = harness.delivery.begun[0]
            utterance.append_gap(160)
            utterance.finish(1.0, partial=True)
            await harness.publish(utterance)
            assert harness.of("transcript/final")[0]["partial"]
            assert harness.of("transcript/final")[0]["lost_ms"] == 10

        stage(scene)

    def test_a_file_that_cannot_be_read_is_told_and_counted(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.outcomes.quarantined(PartId(ulid(1), 2), "not an utterance", 1)
            (failed,) = harness.of("transcript/failed")
            assert (failed["id"], failed["part"], failed["retry"]) == (ulid(1), 2, False)
            assert harness.faults == ["quarantine"]
            assert harness.of("stats")[-1]["quarantined"] == 1
            assert light(harness.conductor.state) is READY
            harness.conductor.outcomes.quarantined(None, "", 0)
            assert harness.faults == []

        stage(scene)

    def test_partial_texts_and_levels(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            await harness.record("start")
            utterance = harness.delivery.begun[0]
            harness.conductor.outcomes.partial(utterance, PartialText("It", "en"), "house")
            partial = {"id": utterance.id, "part": 1, "text": "It", "language": "en", "backend": "house"}
            assert harness.of("transcript/partial") == [partial]
            harness.conductor.level(Level(-20.0, -10.0, False))
            assert harness.of("level") == [{"dbfs": -20.0, "peak_dbfs": -10.0, "clipped": False}]

        stage(scene)

    def test_a_spool_that_fails_is_a_fault_until_it_works(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.outcomes.spool_failed(SpoolError("the disk is full", "free some space"))
            assert harness.of("state")[-1]["faults"][0]["message"] == "the disk is full: free some space"
            harness.conductor.outcomes.spool_works()
            assert harness.faults == []

        stage(scene)

    def test_a_backend_that_refuses_is_a_fault_until_its_owner_acted(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            for refusals in (["check the key"], ["check the key"], ["one", "two"]):
                harness.conductor.outcomes.refusals_changed(refusals)
                (fault,) = harness.of("state")[-1]["faults"]
                assert fault["code"] == "refused"
                assert fault["message"] == "; ".join(refusals)
            assert light(harness.conductor.state) is READY  # another backend may work
            harness.conductor.outcomes.refusals_changed([])
            assert harness.faults == []

        stage(scene)

    def test_a_panel_that_fails_does_not_keep_from_talking(self) -> None:
        async def scene(harness: ConductorHarness) -> None:
            harness.conductor.panel_failed(LED, PanelError("the LED is gone"))
            assert harness.faults == ["led"]
            assert (await harness.record("start"))["state"] == "recording"
            harness.conductor.panel_works(LED)
            assert harness.faults == []

        stage(scene)


def test_quiet_waits_for_the_end_of_what_is_said() -> None:
    async def scene(harness: ConductorHarness) -> None:
        await harness.conductor.quiet()
        harness.capture.rolling = True
        await harness.record("start")
        quiet = asyncio.create_task(harness.conductor.quiet())
        harness.conductor.edge(True, harness.loop.time())
        await ticks()
        assert not quiet.done()
        harness.capture.utterances[0].finish(1.0)
        await quiet

    stage(scene)


def test_who_comes_late_finds_state_and_stats() -> None:
    async def scene(harness: ConductorHarness) -> None:
        retained: list[str] = []
        harness.hub.subscribe(["#"], lambda message, _: retained.append(message.topic))
        assert retained == ["state", "stats"]

    stage(scene)
