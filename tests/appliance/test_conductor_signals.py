"""What the LED and the cues show of the state."""

import asyncio

import pytest

from flowpi.core.events import StopCommanded
from flowpi.core.lights import DELIVERED, KEPT, NO_BACKEND, NO_NETWORK, SHUTTING_DOWN, STARTING, Pattern
from tests.appliance.harness import DEAD, ConductorHarness
from tests.sound import noise, spoken
from tests.waiting import ticks


def played(pattern: Pattern) -> list[float]:
    """What an LED of one colour shows of one cycle."""
    return [brightness for brightness, _ in pattern.steps]


class TestLight:
    async def test_it_is_lit_exactly_while_audio_is_kept(self, harness: ConductorHarness) -> None:
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

    @pytest.mark.parametrize(("without_network", "shown"), [(True, NO_NETWORK), (False, NO_BACKEND)])
    async def test_what_is_kept_for_later_shows_once_and_then_why(
        self, harness: ConductorHarness, without_network: bool, shown: Pattern
    ) -> None:
        await harness.record("start")
        await harness.record("stop")
        harness.light.clear()
        harness.announcer.deferred(harness.delivery.begun[0], "x", without_network=without_network)
        await asyncio.sleep(1.5 + 3.1)
        assert harness.light == [*played(KEPT), *played(shown), 1.0]

    async def test_a_text_that_comes_late_is_no_moment(self, harness: ConductorHarness) -> None:
        await asyncio.sleep(1)
        harness.light.clear()
        await harness.publish(spoken(noise(1.0)), late=True)
        await asyncio.sleep(10)
        assert harness.light == []

    async def test_a_press_cuts_a_moment_short(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        await harness.publish(harness.delivery.begun[0])
        await asyncio.sleep(0.2)
        harness.light.clear()
        await harness.record("start")
        await asyncio.sleep(10)
        assert harness.light == [1.0]

    async def test_a_start_is_seen_also_where_the_button_is_there_at_once(self, harness: ConductorHarness) -> None:
        harness.light.clear()
        harness.conductor.settled()
        await asyncio.sleep(10)
        assert harness.light == [*played(STARTING) * 2, 0.0]

    async def test_a_press_does_not_wait_for_the_end_of_the_start(self, harness: ConductorHarness) -> None:
        harness.conductor.settled()
        await asyncio.sleep(0.7)
        harness.light.clear()
        await harness.record("start")
        await asyncio.sleep(10)
        assert harness.light == [1.0]

    async def test_a_stop_shows_until_the_end(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        harness.light.clear()
        harness.conductor.stop()
        await harness.record("stop")  # whatever comes
        await asyncio.sleep(0.95)
        assert harness.light == [*played(SHUTTING_DOWN) * 2]


class TestCues:
    async def test_a_dictation(self, harness: ConductorHarness) -> None:
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
        harness.announcer.deferred(harness.delivery.begun[0], "no answer")
        assert harness.cues.log[3:] == ["kept"]

    async def test_a_press_stops_what_is_being_played(self, harness: ConductorHarness) -> None:
        await harness.tap()
        await harness.tap()
        assert harness.cues.log.count("hush") == 2

    async def test_what_is_refused_and_what_is_lost_is_an_error(self, harness: ConductorHarness) -> None:
        harness.capture.rolling = True
        harness.press()
        harness.microphone.lost(DEAD)
        harness.capture.utterances[0].finish(1.0, partial=True)
        await ticks()
        harness.release()
        await asyncio.sleep(1)
        harness.press()
        assert harness.cues.log == ["hush", "start", "error", "hush", "error"]

    async def test_the_end_does_not_sound_into_the_next_recording(self, harness: ConductorHarness) -> None:
        harness.capture.rolling = True
        for _ in range(2):
            await harness.record("start")
            harness.conductor.command(StopCommanded())
        await harness.record("start")
        for utterance in harness.capture.utterances[:2]:
            utterance.finish(1.0)
        await ticks()
        assert harness.cues.log == ["start"] * 3

    async def test_a_text_is_not_told_by_a_tone(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        await harness.publish(harness.delivery.begun[0])
        await asyncio.sleep(10)
        assert harness.cues.log == ["start", "stop"]
