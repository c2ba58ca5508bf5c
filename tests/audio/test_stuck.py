"""A stuck driver, in the real ALSA library: opening and closing the device block for as long as it is stuck."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

import pytest

from flowpi.audio.device_state import STUCK_S
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from tests.audio.harness import BLOCKED_S, CaptureHarness
from tests.rig.microphone import Microphone
from tests.sound import beginning
from tests.waiting import until


@pytest.fixture
async def harness(microphone: Microphone) -> AsyncIterator[CaptureHarness]:
    harness = CaptureHarness()
    watching = asyncio.create_task(harness.watch())
    yield harness
    watching.cancel()
    microphone.unhang()
    harness.capture.close()


@pytest.mark.promise("P28")
async def test_the_loop_goes_on_and_the_microphone_comes_back(
    harness: CaptureHarness, microphone: Microphone, measured: Callable[..., None], slack_s: float
) -> None:
    harness.capture.start()
    await harness.hear(RATE_HZ // 5)
    entry = beginning()
    harness.capture.begin(entry, time.monotonic())
    stuck = time.monotonic()
    microphone.hang()
    await until(lambda: harness.faults)
    seen = time.monotonic() - stuck
    assert seen <= 1.5 + slack_s
    assert entry.partial
    await asyncio.sleep(1.5)
    assert harness.capture.is_alive(time.monotonic())
    assert not harness.capture.is_alive(time.monotonic() + STUCK_S + 1)
    assert harness.blocked_s < BLOCKED_S
    microphone.unhang()
    await until(lambda: harness.recoveries)
    await harness.hear(RATE_HZ // 5)
    assert len(harness.faults) == len(harness.recoveries) == 1
    measured(stuck_s=2.5, seen_within_s=round(seen, 2), loop_stood_still_ms=round(harness.blocked_s * 1000))


# One that waited for the driver in these would wait for ever: nobody else lets it go.


async def test_a_start_on_a_stuck_driver_ends(harness: CaptureHarness, microphone: Microphone) -> None:
    microphone.hang()
    harness.capture.start()
    assert [fault.reason for fault in harness.faults] == ["it does not answer"]
    with pytest.raises(MicrophoneError):
        harness.capture.begin(beginning(), time.monotonic())
    microphone.unhang()
    await until(lambda: harness.recoveries)
    await harness.hear(RATE_HZ // 5)


async def test_a_press_on_a_stuck_driver_without_a_pre_roll_is_refused(microphone: Microphone) -> None:
    harness = CaptureHarness(preroll_s=0.0)
    harness.capture.start()
    for _ in range(2):
        entry = beginning()
        harness.capture.begin(entry, time.monotonic())
        await entry.wait(RATE_HZ // 5)
        harness.capture.drop(entry)
    microphone.hang()
    with pytest.raises(MicrophoneError, match="does not answer"):
        harness.capture.begin(beginning(), time.monotonic())
    microphone.unhang()
    await until(lambda: harness.recoveries)
    entry = beginning()
    harness.capture.begin(entry, time.monotonic())
    await entry.wait(RATE_HZ // 5)
    harness.capture.close()


async def test_an_end_while_it_is_stuck_waits_for_nothing_and_leaves_nothing_open(microphone: Microphone) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    harness = CaptureHarness()
    before = descriptors()
    harness.capture.start()
    await harness.hear(RATE_HZ // 5)
    assert descriptors() > before
    microphone.hang()
    await until(lambda: harness.faults)
    harness.capture.close()
    microphone.unhang()
    await until(lambda: descriptors() == before)


async def test_closed_and_started_while_it_is_stuck_the_microphone_comes_back(
    harness: CaptureHarness, microphone: Microphone
) -> None:
    harness.capture.start()
    await harness.hear(RATE_HZ // 5)
    microphone.hang()
    await until(lambda: harness.faults)
    harness.capture.close()
    with pytest.raises(MicrophoneError, match="it is closed"):
        harness.capture.begin(beginning(), time.monotonic())
    assert not harness.capture.is_alive(time.monotonic() + STUCK_S + 1)
    harness.capture.start()
    with pytest.raises(MicrophoneError, match="delivers no sound"):
        harness.capture.begin(beginning(), time.monotonic())
    microphone.unhang()
    await until(lambda: harness.recoveries)
    await harness.hear(RATE_HZ // 5)
    assert len(harness.faults) == 1
