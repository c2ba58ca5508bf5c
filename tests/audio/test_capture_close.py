"""Closing, at the end of the daemon or by a mute: the utterance holds what was said before, and nothing after it."""

import asyncio

import pytest

from flowpi.core.errors import MicrophoneError
from tests import clock
from tests.audio.room import PERIOD_S, SLACK_S, FakeSource, Room, capturing, ends, has_no_seam


@pytest.mark.parametrize("held_s", [0.0, 0.04])
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.usefixtures("jumping_clock")
async def test_the_last_words_before_it_are_heard(released: bool, held_s: float) -> None:
    """Close between two reads: the last regular one is at 0.5 s."""
    async with capturing(FakeSource(held_s)) as room:
        entry = room.press()
        await asyncio.sleep(0.585)
        before = len(room.source.reads)
        if released:
            room.capture.end(entry, room.loop.time())
        assert len(room.source.reads) == before
        assert ends(entry) <= 0.5 + SLACK_S
        room.capture.close()
        assert entry.complete
        assert entry.partial is not released
        assert ends(entry) >= 0.585 - PERIOD_S - held_s - SLACK_S
        assert has_no_seam(entry)


async def test_a_microphone_that_is_gone_by_then_holds_up_nothing(room: Room) -> None:
    entry = room.press()
    await asyncio.sleep(0.585)
    room.source.unplugged = True
    room.capture.close()
    assert (entry.complete, entry.partial) == (True, True)
    assert ends(entry) >= 0.5 - PERIOD_S - SLACK_S
    opened = len(room.source.opened)
    await asyncio.sleep(10)
    assert len(room.source.opened) == opened


@pytest.mark.parametrize("preroll_s", [0.0, 0.3])
@pytest.mark.usefixtures("jumping_clock")
async def test_closed_it_hears_nothing_whoever_wants_to_until_it_is_started(preroll_s: float) -> None:
    async with capturing(preroll_s=preroll_s) as room:
        await asyncio.sleep(1)
        room.capture.close()
        opened, reads = len(room.source.opened), len(room.source.reads)
        room.capture.meter(True)
        with pytest.raises(MicrophoneError, match="it is closed"):
            room.press()
        await asyncio.sleep(60)
        assert (room.faults, len(room.source.opened), len(room.source.reads)) == ([], opened, reads)
        assert clock.timers() == 0
        assert room.capture.is_alive(room.loop.time())
        room.capture.meter(False)
        room.capture.start()
        await asyncio.sleep(1)
        entry = room.press()
        await asyncio.sleep(0.5)
        room.capture.end(entry, room.loop.time())
        await entry.wait_complete()
        assert has_no_seam(entry)
        assert entry.duration_s == pytest.approx(preroll_s + 0.5 + 0.2, abs=PERIOD_S + SLACK_S)


async def test_closed_while_its_device_is_lost_it_is_opened_when_it_is_started(room: Room) -> None:
    room.source.unplugged = True
    await asyncio.sleep(1)
    room.capture.close()
    room.source.unplugged = False
    await asyncio.sleep(60)
    assert room.recoveries == []
    room.capture.start()
    await asyncio.sleep(1)
    assert len(room.recoveries) == 1


async def test_closed_it_does_not_say_any_more_that_it_hears_silence(room: Room) -> None:
    room.source.constant = 0
    await asyncio.sleep(20)
    assert room.silences == [True]
    room.capture.close()
    assert room.silences == [True, False]
