"""The button: talking, cancelling, long speech, muting."""

import asyncio

import pytest

from flowpi.config.schema import ButtonSettings, Config
from flowpi.core.indicator import light
from flowpi.core.lights import MUTED_LIGHT
from flowpi.core.rules import Rules
from flowpi.delivery.backlog import Waiting
from tests.appliance.harness import DEAD, ConductorHarness, opened
from tests.sound import noise


class TestButton:
    async def test_hold_to_talk(self, harness: ConductorHarness) -> None:
        await asyncio.sleep(1)
        harness.press()
        await asyncio.sleep(1)
        harness.release()
        assert harness.capture.begun_at == [1.0]
        await harness.publish(harness.delivery.begun[0])
        assert harness.states == ["starting", "idle", "recording", "finishing", "idle"]
        assert [payload["kind"] for payload in harness.of("event/button")] == ["pressed", "hold", "released"]

    async def test_an_edge_that_is_handled_late_counts_from_when_it_was(self, harness: ConductorHarness) -> None:
        await asyncio.sleep(1)
        harness.conductor.edge(None, True, 0.5)
        assert harness.capture.begun_at == [0.5]

    async def test_a_tap_starts_and_a_tap_stops(self, harness: ConductorHarness) -> None:
        await harness.tap()
        assert harness.conductor.state.name == "recording"
        await asyncio.sleep(5)
        await harness.tap()
        assert harness.conductor.state.name == "finishing"
        assert [kind for kind, _ in harness.capture.log] == ["begin", "end"]

    async def test_a_double_tap_cancels(self, harness: ConductorHarness) -> None:
        await harness.tap()
        await harness.tap()
        assert harness.conductor.state.name == "idle"
        assert len(harness.delivery.dropped) == 1
        kinds = [payload["kind"] for payload in harness.of("event/button")]
        assert kinds == ["pressed", "released", "tap", "pressed", "released", "double"]

    async def test_a_double_tap_just_after_a_recording_cancels_that_too(self, harness: ConductorHarness) -> None:
        harness.press()
        await asyncio.sleep(1)
        harness.release()
        await asyncio.sleep(0.2)
        await harness.tap()
        await harness.tap()
        assert len(harness.delivery.dropped) == 2
        assert harness.conductor.state.name == "idle"

    @pytest.mark.usefixtures("jumping_clock")
    async def test_long_speech_goes_on_in_parts(self) -> None:
        async with opened(Rules(max_utterance_s=10.0, finish_timeout_s=4.0)) as harness:
            harness.press()
            await asyncio.sleep(8.01)
            assert harness.conductor.state.name == "recording"
            first, second, until = harness.capture.following
            assert until == pytest.approx(10.0, abs=0.1)
            first.append(noise(0.5))
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
            assert harness.statistics.snapshot().dictations == 1

    @pytest.mark.usefixtures("jumping_clock")
    async def test_a_double_tap_cancels_all_parts(self) -> None:
        async with opened(Rules(max_utterance_s=10.0)) as harness:
            await harness.record("start")
            await asyncio.sleep(8.01)
            first, second, _ = harness.capture.following
            first.finish(9.0)
            harness.capture.pause()
            harness.announcer.deferred(first, "no answer")
            harness.delivery.left = [Waiting(first.part_id, "no answer", 1, False, False, False)]
            await harness.record("cancel")
            assert sorted(harness.delivery.dropped) == [first.part_id, second.part_id]

    async def test_other_rules_count_from_the_next_event(self, harness: ConductorHarness) -> None:
        await harness.conductor.apply(Config(button=ButtonSettings(mode="toggle")))
        harness.press()
        await asyncio.sleep(1)
        harness.release()
        assert harness.conductor.state.name == "recording"


class TestMute:
    async def test_a_long_press_closes_the_microphone_and_the_next_one_opens_it(
        self, harness: ConductorHarness
    ) -> None:
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
        assert (harness.faults, harness.conductor.state.has_fault("muted")) == ([], False)
        harness.release()
        assert [payload["kind"] for payload in harness.of("event/button")].count("long") == 2

    async def test_a_press_that_is_spoken_into_never_mutes(self, harness: ConductorHarness) -> None:
        harness.press()
        await asyncio.sleep(5)
        harness.microphone.lost(DEAD)  # it is recorded no more, and the finger does not know
        await asyncio.sleep(10)
        harness.release()
        assert not harness.conductor.state.has_fault("muted")
        assert "long" not in [payload["kind"] for payload in harness.of("event/button")]

    async def test_a_press_that_was_refused_may_mute(self, harness: ConductorHarness) -> None:
        harness.microphone.lost(DEAD)
        harness.press()
        await asyncio.sleep(10.1)
        assert harness.conductor.state.has_fault("muted")
