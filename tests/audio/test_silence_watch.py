"""Digital silence from a microphone, on a jumping clock."""

import asyncio
from collections.abc import Callable

import pytest

from flowpi.audio.silence_watch import REVIVE_S, SILENT_S
from tests.audio.room import FakeSource, Room, capturing


@pytest.mark.promise("P30")
@pytest.mark.parametrize("sample", [0, 65_236])
@pytest.mark.parametrize("recording", [False, True])
async def test_after_ten_seconds_it_is_told_and_with_the_first_sound_taken_back(
    room: Room, sample: int, recording: bool, measured: Callable[..., None]
) -> None:
    await asyncio.sleep(1)
    if recording:
        room.press()
    room.source.constant = sample
    await asyncio.sleep(SILENT_S - 0.6)
    assert room.silences == []
    await asyncio.sleep(1.2)
    assert room.silences == [True]
    await asyncio.sleep(100)
    assert room.silences == [True]
    room.source.constant = None
    await asyncio.sleep(0.55)
    assert room.silences == [True, False]
    assert room.faults == []
    measured(simulated_s=112, sample=sample, told=1, taken_back=1)


@pytest.mark.usefixtures("jumping_clock")
async def test_a_device_that_is_silent_from_the_start_is_told_as_soon() -> None:
    source = FakeSource()
    source.constant = 0
    async with capturing(source) as room:
        await asyncio.sleep(SILENT_S + 0.2)
        assert room.silences == [True]


async def test_a_hair_of_noise_is_enough(room: Room) -> None:
    for _ in range(20):
        room.source.constant = 0
        await asyncio.sleep(5)
        room.source.constant = 1
        await asyncio.sleep(5)
    assert room.silences == []


async def test_while_nobody_records_it_is_opened_anew_at_once_and_then_once_a_minute(room: Room) -> None:
    room.source.constant = 0
    await asyncio.sleep(SILENT_S + 1)
    assert len(room.source.opened) == 2
    await asyncio.sleep(10 * REVIVE_S)
    assert 11 <= len(room.source.opened) <= 12
    assert room.silences == [True]
    entry = room.press()
    before = len(room.source.opened)
    await asyncio.sleep(5 * REVIVE_S)
    assert len(room.source.opened) == before
    room.capture.end(entry, room.loop.time())
    await asyncio.sleep(1)
    assert len(room.source.opened) == before + 1
    assert entry.silent
    room.source.constant = None
    await asyncio.sleep(5 * REVIVE_S)
    assert len(room.source.opened) == before + 1


async def test_a_click_of_a_device_that_is_opened_anew_is_no_sound(room: Room) -> None:
    room.source.constant = 0
    await asyncio.sleep(SILENT_S + 3)
    opened = len(room.source.opened)
    while len(room.source.opened) == opened:  # noqa: ASYNC110 (it sends no event)
        await asyncio.sleep(0.1)
    room.source.constant = None
    await asyncio.sleep(0.6)
    room.source.constant = 0
    await asyncio.sleep(5)
    assert room.silences == [True]


async def test_of_a_device_that_is_lost_nothing_is_told(room: Room) -> None:
    room.source.constant = 0
    await asyncio.sleep(SILENT_S + 1)
    room.source.unplugged = True
    await asyncio.sleep(1)
    assert room.silences == [True, False]
    room.source.unplugged = False
    await asyncio.sleep(5)
    assert room.silences == [True, False]
    await asyncio.sleep(10)
    assert room.silences == [True, False, True]


@pytest.mark.usefixtures("jumping_clock")
async def test_a_source_without_noise_may_be_silent() -> None:
    class Quiet(FakeSource):
        has_noise = False

    async with capturing(Quiet()) as room:
        room.source.constant = 0
        await asyncio.sleep(100)
        assert room.silences == []
        assert len(room.source.opened) == 1
