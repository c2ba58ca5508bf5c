"""A microphone that dies, and a spool without room."""

import asyncio

import pytest

from flowpi.core.rules import Rules
from flowpi.publish.messages import Problem
from tests.appliance.harness import DEAD, ConductorHarness, opened


class TestMicrophone:
    async def test_a_dead_one_refuses(self, harness: ConductorHarness) -> None:
        harness.microphone.lost(DEAD)
        for action in ("start", "toggle"):
            problem = await harness.refused(command="record", action=action)
            assert problem == Problem("microphone", "no sound from 'mic' (No such device): plug it in")
        assert (await harness.record("stop"))["state"] == "idle"
        assert harness.faults == ["microphone"]
        harness.microphone.silent(True)
        assert harness.faults == ["microphone", "silence"]
        harness.microphone.silent(False)
        harness.microphone.recovered()
        assert harness.faults == []
        assert (await harness.record("start"))["state"] == "recording"

    async def test_one_that_is_too_quiet_is_a_fault_until_it_is_loud_enough(self, harness: ConductorHarness) -> None:
        for _ in range(2):
            harness.microphone.quiet(True)
            assert harness.faults == ["quiet"]
        assert (await harness.record("start"))["state"] == "recording"
        assert "audio.gain_db" in harness.conductor.state.faults[0].message
        harness.microphone.quiet(False)
        assert harness.faults == []

    async def test_one_that_is_found_dead_by_the_press_refuses(self, harness: ConductorHarness) -> None:
        harness.capture.dead = True
        problem = await harness.refused(command="record", action="start")
        assert problem == Problem("microphone", str(DEAD))
        assert harness.conductor.state.name == "idle"
        assert harness.faults == ["microphone"]
        assert harness.states == ["starting", "idle"]  # nobody sees a recording that lasted no time
        assert harness.delivery.begun == []
        assert harness.statistics.snapshot().dictations == 0

    async def test_found_dead_by_the_press_what_was_said_before_goes_its_way(self, harness: ConductorHarness) -> None:
        await harness.record("start")
        await harness.record("stop")
        harness.capture.dead = True
        await harness.refused(command="record", action="start")
        assert harness.delivery.dropped == []
        await harness.publish(harness.delivery.begun[0])
        assert len(harness.committed) == 1

    async def test_lost_while_one_speaks_what_was_said_goes_its_way(self, harness: ConductorHarness) -> None:
        utterance_id = (await harness.record("start"))["utterance"]
        harness.microphone.lost(DEAD)
        assert harness.capture.log[-1] == ("end", utterance_id)
        assert harness.conductor.state.name == "finishing"
        assert harness.delivery.dropped == []


class TestNoRoom:
    async def test_a_press_is_refused_with_words(self, harness: ConductorHarness) -> None:
        harness.delivery.memory_full = True
        refused = await harness.refused(command="record", action="start")
        assert refused.code == "spool"
        assert "flowpi spool list" in refused.message
        assert harness.capture.log == []
        assert harness.conductor.state.name == "idle"

    @pytest.mark.usefixtures("jumping_clock")
    async def test_long_speech_ends_with_the_part_that_filled_it(self) -> None:
        async with opened(Rules(max_utterance_s=10.0)) as harness:
            await harness.record("start")
            harness.delivery.memory_full = True
            await asyncio.sleep(8.01)
            utterance = harness.delivery.begun[0].id
            assert harness.capture.log == [("begin", utterance), ("end", utterance)]
            assert harness.conductor.state.name == "finishing"
