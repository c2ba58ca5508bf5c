"""A driver that is stuck, in the real ALSA library: opening and closing the device block for as long as it is."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

import pytest

from flowpi.audio.capture import STUCK_S
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from tests.audio.house import BLOCKED_S, House
from tests.dictation.sound import beginning
from tests.rig.microphone import Microphone
from tests.waiting import until


@pytest.fixture
async def house(microphone: Microphone) -> AsyncIterator[House]:
    house = House()
    watching = asyncio.create_task(house.watch())
    yield house
    watching.cancel()
    microphone.unhang()
    house.capture.close()


@pytest.mark.promise("P28")
async def test_the_loop_goes_on_and_the_microphone_comes_back(
    house: House, microphone: Microphone, measured: Callable[..., None]
) -> None:
    house.capture.start()
    await house.hear(RATE_HZ // 5)
    entry = beginning()
    house.capture.begin(entry, time.monotonic())
    stuck = time.monotonic()
    microphone.hang()
    await until(lambda: house.faults)
    seen = time.monotonic() - stuck
    assert seen <= 1.5 + BLOCKED_S
    assert entry.partial
    await asyncio.sleep(1.5)
    assert house.capture.is_alive(time.monotonic())
    assert not house.capture.is_alive(time.monotonic() + STUCK_S + 1)
    assert house.blocked_s < BLOCKED_S
    microphone.unhang()
    await until(lambda: house.recoveries)
    await house.hear(RATE_HZ // 5)
    assert len(house.faults) == len(house.recoveries) == 1
    measured(stuck_s=2.5, seen_within_s=round(seen, 2), loop_stood_still_ms=round(house.blocked_s * 1000))


async def test_a_start_on_a_stuck_driver_ends(house: House, microphone: Microphone) -> None:
    microphone.hang()
    began = time.monotonic()
    house.capture.start()
    assert time.monotonic() - began < 2
    assert [fault.reason for fault in house.faults] == ["it does not answer"]
    with pytest.raises(MicrophoneError):
        house.capture.begin(beginning(), time.monotonic())
    microphone.unhang()
    await until(lambda: house.recoveries)
    await house.hear(RATE_HZ // 5)


async def test_a_press_on_a_stuck_driver_without_a_pre_roll_is_refused(microphone: Microphone) -> None:
    house = House(preroll_s=0.0)
    house.capture.start()
    for _ in range(2):
        entry = beginning()
        house.capture.begin(entry, time.monotonic())
        await entry.wait(RATE_HZ // 5)
        house.capture.drop(entry)
    microphone.hang()
    began = time.monotonic()
    with pytest.raises(MicrophoneError, match="does not answer"):
        house.capture.begin(beginning(), time.monotonic())
    assert time.monotonic() - began < 2
    microphone.unhang()
    await until(lambda: house.recoveries)
    entry = beginning()
    house.capture.begin(entry, time.monotonic())
    await entry.wait(RATE_HZ // 5)
    house.capture.close()


async def test_an_end_while_it_is_stuck_waits_for_nothing_and_leaves_nothing_open(microphone: Microphone) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    house = House()
    before = descriptors()
    house.capture.start()
    await house.hear(RATE_HZ // 5)
    assert descriptors() > before
    microphone.hang()
    await until(lambda: house.faults)
    began = time.monotonic()
    house.capture.close()
    assert time.monotonic() - began < BLOCKED_S
    microphone.unhang()
    await until(lambda: descriptors() == before)
