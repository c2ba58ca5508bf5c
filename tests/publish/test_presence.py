"""Whether a sink that is a process of its own is there, and what it is asked to do."""

import asyncio

import pytest

from flowpi.core.errors import SinkAbsentError
from flowpi.publish.messages import GivenUp
from flowpi.publish.presence import ABSENCE_S
from tests.clock import SkippingLoop, timers
from tests.publish.test_files import final
from tests.publish.test_remote import Daemon, command, report, shown, waiting
from tests.publish.test_remote import daemon as daemon  # the fixture
from tests.waiting import ticks, until


class TestPresence:
    """After a minute without the process, texts that wait for it are a fault."""

    async def test_one_that_is_not_there_is_a_fault_once_texts_wait_for_a_while(
        self, daemon: Daemon, skipping_clock: SkippingLoop
    ) -> None:
        async with daemon.run() as running:
            await daemon.say(1)
            skipping_clock.skip(ABSENCE_S - 20)  # at the start of the machine it comes later than the daemon
            await ticks()
            assert (daemon.faults, (await shown(running)).state) == ({}, "opening")
            skipping_clock.skip(21)
            await skipping_clock.until(lambda: daemon.faults)
            assert daemon.faults["sink.command"].startswith("`flowpi hook` does not run, or does not report: ")
            one = await shown(running)
            assert (one.state, one.waiting) == ("failing", 1)
            assert one.error == daemon.faults["sink.command"]
            await report(running)
            assert daemon.faults == {}
            assert (await shown(running)).state == "open"

    async def test_a_text_that_comes_while_it_is_away_waits_for_a_while_too(
        self, daemon: Daemon, skipping_clock: SkippingLoop
    ) -> None:
        async with daemon.run() as running:
            skipping_clock.skip(ABSENCE_S + 1)
            await skipping_clock.until(lambda: command(running).is_away)
            await waiting(running)
            assert (daemon.faults, (await shown(running)).state) == ({}, "opening")
            await daemon.say(1)
            skipping_clock.skip(ABSENCE_S - 20)
            await ticks()
            await waiting(running)
            assert daemon.faults == {}
            skipping_clock.skip(21)
            await skipping_clock.until(lambda: daemon.faults)

    async def test_as_long_as_a_report_waits_it_is_there(self, daemon: Daemon, skipping_clock: SkippingLoop) -> None:
        async with daemon.run() as running:
            await daemon.say(1)
            await report(running)
            there = asyncio.create_task(command(running).wait())
            await ticks()
            before = timers()
            skipping_clock.skip(100 * ABSENCE_S)
            await ticks()
            await waiting(running)
            assert (daemon.faults, before) == ({}, 0)  # and it costs no wake-up
            there.cancel()
            await ticks()
            skipping_clock.skip(ABSENCE_S + 1)
            await skipping_clock.until(lambda: daemon.faults)

    async def test_what_failed_when_it_left_is_no_fault_any_more_if_nothing_waits(
        self, daemon: Daemon, skipping_clock: SkippingLoop
    ) -> None:
        async with daemon.run() as running:
            await report(running, state="failing", error="it ended")
            skipping_clock.skip(ABSENCE_S + 1)
            await skipping_clock.until(lambda: not daemon.faults)

    async def test_one_that_is_away_can_be_asked_for_nothing(
        self, daemon: Daemon, skipping_clock: SkippingLoop
    ) -> None:
        async with daemon.run() as running:
            with pytest.raises(
                SinkAbsentError, match=r"`flowpi hook` does not run.*: sudo systemctl restart flowpi-hook"
            ):
                running.retry(["command"])
            await report(running)
            running.retry(["command"])  # it has just been there
            skipping_clock.skip(ABSENCE_S + 1)
            await skipping_clock.until(lambda: command(running).is_away)
            with pytest.raises(SinkAbsentError):
                await running.skip(["command"])


class TestAsked:
    async def test_what_was_asked_of_one_that_does_not_come_back_is_dropped(
        self, daemon: Daemon, skipping_clock: SkippingLoop
    ) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            await report(running, 1, state="failing", error="it ended")
            assert await running.skip(["command"]) == 1
            skipping_clock.skip(ABSENCE_S + 1)
            await skipping_clock.until(lambda: command(running).is_away)
            await report(running, 1)
            asked = asyncio.create_task(command(running).wait())
            await ticks()
            assert not asked.done()
            running.retry(["command"])
            assert await asked == "retry"

    async def test_retry_and_skip_answer_the_report_that_waits(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            await report(running, 1, state="failing", error="it ended")
            asked = asyncio.create_task(command(running).wait())
            await ticks()
            running.retry(["command"])
            assert await asked == "retry"
            assert await running.skip(["command"]) == 1  # between two reports
            assert await command(running).wait() == "skip"

    async def test_skip_forgets_what_was_given_up_and_missed(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1)
            await daemon.say(2, 3, days=30)
            await daemon.expire(52)
            await report(running, 3, parked=[GivenUp(final(2).id, 1, "why")])
            asked = asyncio.create_task(command(running).wait())
            await until(lambda: "1 expired" in daemon.faults["undelivered.command"])
            assert await running.skip(["command"]) == 2
            assert await asked == "skip"
            assert daemon.faults == {}
            await report(running, 3, parked=[GivenUp(final(2).id, 1, "why")])  # it was busy with another text
            assert (await shown(running)).parked == 1

    async def test_the_next_report_takes_the_place_of_the_one_that_waits(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await report(running)
            first = asyncio.create_task(command(running).wait())
            await ticks()
            second = asyncio.create_task(command(running).wait())
            assert await first is None
            running.retry(["command"])
            assert await second == "retry"
