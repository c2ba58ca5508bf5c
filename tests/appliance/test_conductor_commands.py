"""Commands and their answers."""

import asyncio
from typing import Any

import msgspec
import pytest

from flowpi.appliance.announcer import NOT_YET, SILENT
from flowpi.audio.utterance import PartId
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import ButtonSettings, Config, DictationSettings
from flowpi.core.events import DeadlinePassed
from flowpi.core.hints import Hints, TargetApp
from flowpi.core.profiles import GestureProfiles
from flowpi.core.ulid import is_ulid
from flowpi.publish.messages import DictationEnding, Problem, Request
from flowpi.wire.roles import PartialText
from tests.appliance.harness import ConductorHarness, starting
from tests.waiting import ticks


class TestCommands:
    async def test_start_and_stop(self, harness: ConductorHarness) -> None:
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

    async def test_each_again_changes_nothing(self, harness: ConductorHarness) -> None:
        started = await harness.record("start")
        assert await harness.record("start") == started
        stopped = await harness.record("stop")
        assert await harness.record("stop") == stopped
        await harness.publish(harness.delivery.begun[0])
        for action in ("stop", "cancel", "cancel"):
            assert await harness.record(action) == {"state": "idle", "utterance": None}
        assert len(harness.capture.log) == 2

    async def test_toggle(self, harness: ConductorHarness) -> None:
        states = [(await harness.record("toggle"))["state"] for _ in range(4)]
        assert states == ["recording", "finishing", "recording", "finishing"]
        assert len(harness.delivery.begun) == 2

    @pytest.mark.parametrize("action", ["stop", "toggle"])
    @pytest.mark.parametrize("on_disk", [True, False])
    async def test_stop_is_answered_when_the_audio_is_on_the_disk_or_cannot_be(
        self, harness: ConductorHarness, action: str, on_disk: bool
    ) -> None:
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

    @pytest.mark.parametrize("finishing", [False, True])
    async def test_cancel_forgets_what_was_said(self, harness: ConductorHarness, finishing: bool) -> None:
        utterance_id = (await harness.record("start"))["utterance"]
        if finishing:
            await harness.record("stop")
        assert await harness.record("cancel") == {"state": "idle", "utterance": None}
        assert harness.capture.log[-1] == ("drop", utterance_id)
        assert harness.delivery.dropped == [PartId(utterance_id)]
        assert harness.statistics.snapshot().cancelled == 1

    @pytest.mark.usefixtures("jumping_clock")
    async def test_while_it_starts_it_refuses(self) -> None:
        async with starting() as harness:
            for action in ("start", "toggle"):
                problem = await harness.refused(command="record", action=action)
                assert problem == Problem("starting", "still starting: try again in a moment")
            assert (await harness.record("stop"))["state"] == "starting"

    async def test_what_is_no_command_is_said(self, harness: ConductorHarness) -> None:
        problem = await harness.refused(command="record", action="dance")
        assert problem == Problem("bad_request", "action is one of: start, stop, toggle, cancel")
        assert await harness.refused(command="record") == problem
        problem = await harness.refused(command="x" * 1000)
        known = "record, spool, sinks, status, transcripts"
        assert problem == Problem("unknown_command", f"'{'x' * 40}' is none of: {known}")
        assert await harness.refused() == Problem("bad_request", "a request has a subscribe or a command")

    async def test_status(self, harness: ConductorHarness) -> None:
        harness.capture.gaps, harness.capture.lost_frames = 2, 1600
        utterance_id = (await harness.record("start"))["utterance"]
        answer = await harness.requests.handle(Request(command="status"))
        status = msgspec.to_builtins(answer)["status"]
        assert status["state"]["state"] == "recording"
        assert status["state"]["utterance"] == utterance_id
        assert (status["stats"]["dictations"], status["stats"]["gaps"], status["stats"]["lost_ms"]) == (1, 2, 100)
        assert status["sinks"] == []


class TestWaiting:
    """`record stop` with `wait`."""

    async def ended(self, harness: ConductorHarness) -> "asyncio.Task[dict[str, Any]]":
        await harness.record("start")
        stopping = asyncio.create_task(harness.record("stop", wait=True))
        await ticks()
        assert not stopping.done()
        return stopping

    async def test_it_is_answered_with_the_text(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        await harness.publish(harness.delivery.begun[0])
        answer = await stopping
        assert (answer["state"], answer["recorded"]) == ("idle", True)
        assert answer["ending"] == DictationEnding("text", ["It was."])

    async def test_with_the_texts_of_all_parts_also_of_one_from_before(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        first = harness.delivery.begun[0]
        await asyncio.sleep(330)
        harness.capture.pause()
        first.finish(harness.loop.time())
        await harness.publish(first, "One.")
        stopping = asyncio.create_task(harness.record("stop", wait=True))
        await ticks()
        assert not stopping.done()
        await harness.publish(harness.delivery.begun[1], "Two.")
        assert (await stopping)["ending"] == DictationEnding("text", ["One.", "Two."])

    async def test_one_that_is_kept(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        harness.announcer.deferred(harness.delivery.begun[0], "not reached")
        assert (await stopping)["ending"] == DictationEnding("kept", [], "not reached")

    async def test_one_that_takes_too_long(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        assert (await stopping)["ending"] == DictationEnding("kept", [], NOT_YET)

    async def test_one_that_is_cancelled(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        await harness.record("cancel")
        assert (await stopping)["ending"] == DictationEnding("cancelled", [])

    async def test_one_that_is_silent(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        harness.announcer.failed(harness.delivery.begun[0].part_id, SILENT)
        harness.announcer.delivered(harness.delivery.begun[0])
        assert (await stopping)["ending"] == DictationEnding("failed", [], SILENT)

    async def test_a_client_that_leaves_does_not_end_the_wait_of_others(self, harness: ConductorHarness) -> None:
        stopping = await self.ended(harness)
        other = asyncio.create_task(harness.record("stop", wait=True))
        await ticks()
        stopping.cancel()
        await harness.publish(harness.delivery.begun[0])
        assert (await other)["ending"] == DictationEnding("text", ["It was."])

    async def test_nothing_to_wait_for(self, harness: ConductorHarness) -> None:
        assert await harness.record("stop", wait=True) == {"state": "idle", "utterance": None}
        assert "ending" not in await harness.record("toggle", wait=True)


class TestContext:
    async def test_it_goes_with_this_dictation_only(self, harness: ConductorHarness) -> None:
        await harness.record("start", context={"app": {"name": "Notes"}})
        await harness.tap()
        await asyncio.sleep(1)
        harness.press()
        hints = [utterance.about.hints for utterance in harness.delivery.begun]
        assert hints == [Hints(app=TargetApp(name="Notes")), Hints()]

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
    async def test_one_that_the_service_does_not_know_is_refused(
        self, harness: ConductorHarness, context: Any, message: str
    ) -> None:
        problem = await harness.refused(command="record", action="start", context=context)
        assert problem == Problem("bad_request", message)
        assert harness.capture.log == []

    async def test_a_picture_comes_as_base64(self, harness: ConductorHarness) -> None:
        await harness.record("start", context={"screenshot": "AAEC"})
        (utterance,) = harness.delivery.begun
        assert utterance.about.hints.screenshot == b"\0\1\2"


async def test_the_connection_begins_before_anybody_is_told(harness: ConductorHarness) -> None:
    seen: list[tuple[str, int, int]] = []

    def shown() -> tuple[str, int, int]:
        return harness.states[-1], len(harness.light), len(harness.told)

    idle = shown()
    harness.delivery.connect = lambda: seen.append(shown())
    assert (await harness.record("start"))["state"] == "recording"
    assert seen == [idle], "once, before the light, the state and the answer"
    assert harness.states[-1] == "recording", "before the answer"
    assert harness.told[-1][0] == "recording"


async def test_quiet_waits_for_the_end_of_what_is_said(harness: ConductorHarness) -> None:
    await harness.conductor.quiet()
    harness.capture.rolling = True
    await harness.record("start")
    quiet = asyncio.create_task(harness.conductor.quiet())
    harness.conductor.edge(None, True, harness.loop.time())
    await ticks()
    assert not quiet.done()
    harness.capture.utterances[0].finish(1.0)
    await quiet


async def test_who_comes_late_finds_state_and_stats(harness: ConductorHarness) -> None:
    retained: list[str] = []
    harness.hub.subscribe(["#"], lambda message, _: retained.append(message.topic))
    assert retained == ["state", "stats"]


class TestProfiles:
    async def test_a_dictation_has_the_profile_that_its_command_names(self, harness: ConductorHarness) -> None:
        await harness.conductor.apply(Config(profiles={"german": ProfileSettings(), "code": ProfileSettings()}))
        await harness.record("start", profile="german")
        (utterance,) = harness.delivery.begun
        assert utterance.about.profile == "german"
        await ticks()
        assert harness.of("state")[-1]["profile"] == "german"
        await harness.record("stop")
        await ticks()
        assert harness.of("state")[-1] == {**harness.of("state")[-1], "state": "finishing", "profile": "german"}
        harness.announcer.partial(utterance, PartialText("It", "en"), "house")
        await harness.publish(utterance)
        await ticks()
        assert harness.of("transcript/partial")[0]["profile"] == "german"
        assert harness.of("transcript/final")[0]["profile"] == harness.committed[0].profile == "german"
        assert "profile" not in harness.of("state")[-1]

    async def test_without_a_profile_nothing_says_so(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        (utterance,) = harness.delivery.begun
        harness.announcer.partial(utterance, PartialText("It", "en"), "house")
        await harness.publish(utterance)
        for topic in ("state", "transcript/partial", "transcript/final"):
            assert not any("profile" in payload for payload in harness.of(topic))

    async def test_one_that_is_not_there_is_refused(self, harness: ConductorHarness) -> None:
        problem = await harness.refused(command="record", action="start", profile="german")
        assert problem == Problem("bad_request", "there is no profile 'german': none is configured")
        await harness.conductor.apply(Config(profiles={"german": ProfileSettings()}))
        problem = await harness.refused(command="record", action="toggle", profile="germn")
        assert problem == Problem("bad_request", "there is no profile 'germn': did you mean german?")
        assert harness.delivery.begun == []

    async def test_what_is_recorded_is_not_taken_for_another(self, harness: ConductorHarness) -> None:
        await harness.conductor.apply(Config(profiles={"german": ProfileSettings(), "private": ProfileSettings()}))
        started = await harness.record("start", profile="german")
        for profile in (None, "german"):
            assert await harness.record("start", profile=profile) == started
        problem = await harness.refused(command="record", action="start", profile="private")
        assert problem == Problem("recording", "a dictation without this profile is being recorded: end it first")
        assert [one.about.profile for one in harness.delivery.begun] == ["german"]
        assert harness.conductor.state.name == "recording"

    async def test_a_button_of_its_own_chooses_it_and_only_the_one_that_is_held_ends_it(
        self, harness: ConductorHarness
    ) -> None:
        await harness.conductor.apply(Config(profiles={"german": ProfileSettings(pin=4)}))
        conductor, at = harness.conductor, harness.loop.time()
        conductor.edge("german", True, at)
        assert harness.of("event/button")[-1] == {"kind": "pressed", "profile": "german"}
        assert [one.about.profile for one in harness.delivery.begun] == ["german"]
        conductor.edge("german", False, at + 1)
        conductor.edge("german", True, at + 2)
        conductor.edge("german", False, at + 2.1)  # latched
        conductor.edge(None, True, at + 3)  # ends it
        conductor.edge(None, False, at + 3.1)
        conductor.edge("german", True, at + 4)
        conductor.edge(None, True, at + 4.5)  # slipped
        conductor.edge(None, False, at + 5)
        conductor.edge(None, True, at + 6)
        assert harness.conductor.state.name == "recording"
        conductor.edge("german", False, at + 7)
        assert harness.conductor.state.name == "finishing"
        conductor.edge(None, False, at + 8)
        assert [one.about.profile for one in harness.delivery.begun] == ["german", "german", "german"]
        assert harness.of("event/button")[-1] == {"kind": "released"}
        conductor.edge(None, True, at + 9)
        assert [one.about.profile for one in harness.delivery.begun][3:] == [None]

    async def test_what_a_command_began_is_ended_by_any_button_also_while_another_is_held(
        self, harness: ConductorHarness
    ) -> None:
        await harness.conductor.apply(Config(profiles={"german": ProfileSettings(pin=4)}))
        harness.conductor.edge("german", True, harness.loop.time())
        await harness.record("cancel")
        await harness.record("start")
        harness.conductor.edge(None, True, harness.loop.time() + 1)
        assert harness.conductor.state.name == "finishing"

    async def test_what_is_heard_before_the_profile_is_known_is_for_nobody(self, harness: ConductorHarness) -> None:
        profiles = {"german": ProfileSettings(), "private": ProfileSettings(sinks=())}
        button = ButtonSettings(profiles=GestureProfiles(hold="german", tap="private"))
        await harness.conductor.apply(Config(profiles=profiles, button=button))
        at = harness.loop.time()
        harness.conductor.edge(None, True, at)
        (utterance,) = harness.delivery.begun
        harness.announcer.partial(utterance, PartialText("It", "de"), "house")
        harness.conductor.edge(None, False, at + 0.1)
        harness.announcer.partial(utterance, PartialText("It was", "de"), "house")
        assert [(one["text"], one["profile"]) for one in harness.of("transcript/partial")] == [("It was", "private")]

    async def test_an_edge_of_a_button_that_a_reload_removed_is_harmless(self, harness: ConductorHarness) -> None:
        harness.conductor.edge("german", True, harness.loop.time())
        assert harness.conductor.state.name == "idle"

    async def test_a_part_has_the_profile_of_its_utterance(self, harness: ConductorHarness) -> None:
        await harness.conductor.apply(
            Config(profiles={"german": ProfileSettings()}, dictation=DictationSettings(max_utterance_s=5))
        )
        await harness.record("start", profile="german")
        harness.inbox.post(DeadlinePassed())
        harness.capture.pause()
        assert [(one.about.part, one.about.profile) for one in harness.delivery.begun] == [(1, "german"), (2, "german")]
