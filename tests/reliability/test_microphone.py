"""Promises P28 to P30: a microphone that is lost and comes back, one that is read too late, and digital silence."""

import asyncio
import contextlib
import errno
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import Utterance
from flowpi.dsp.format import RATE_HZ
from tests.audio.harness import CaptureHarness
from tests.audio.listening import missing, samples
from tests.rig.appliance import Appliance, Socket
from tests.rig.microphone import Microphone
from tests.sound import beginning
from tests.waiting import until

Times = Callable[[int, int], int]
Measured = Callable[..., None]

BUSY = os.strerror(errno.EBUSY)

SEEN_S = 1.5
BACK_S = 2.0
BUFFER_S = 1.0
"""What a reader that comes later than that has not heard of the device is no longer in its buffer."""


@contextlib.asynccontextmanager
async def living(*devices: str) -> AsyncIterator[list[CaptureHarness]]:
    houses = [CaptureHarness(device) for device in devices]
    for harness in houses:
        harness.capture.start()
    yield houses
    for harness in houses:
        harness.capture.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def heard(entry: Utterance) -> bytes:
    return entry.read(0, entry.length)


@pytest.mark.promise("P28")
async def test_unplugged_at_any_moment(
    microphone: Microphone, times: Times, measured: Measured, slack_s: float
) -> None:
    """Of four captures of one microphone one records and three are idle; each unplugging is a loss for all four."""
    dice = random.Random(28)
    seen, back, losses = [0.0], [0.0], 0
    async with living("clock", "array", "clock", "array") as houses:
        for harness in houses:
            await harness.hear(RATE_HZ // 5)
        open_descriptors = descriptors()
        for turn in range(times(3, 50)):
            recorder = houses[turn % 4]
            entry = beginning()
            recorder.capture.begin(entry, time.monotonic())
            await asyncio.sleep(dice.random() * 0.7)
            unplugged_at = time.monotonic()
            microphone.unplug()
            await until(lambda: all(harness.faults for harness in houses))
            seen.append(time.monotonic() - unplugged_at)
            assert entry.complete
            assert entry.partial
            assert missing(heard(entry)) == []
            unheard_s = (round(unplugged_at * RATE_HZ) - samples(heard(entry))[-1]) % 65_536 / RATE_HZ
            assert unheard_s <= 0.15 + min(slack_s, BUFFER_S)
            if turn >= 3:
                await asyncio.sleep(dice.random() * 2)
            match turn % 3:
                case 0:
                    microphone.plug_in()
                case 1:
                    microphone.plug_in_as_another_card()
                case _:
                    microphone.take()
                    microphone.plug_in()
                    await until(lambda: all(harness.faults[-1].reason == BUSY for harness in houses))
                    microphone.give_back()
            back_at = time.monotonic()
            await until(lambda: all(harness.recoveries for harness in houses))
            for harness in houses:
                back.append(harness.recoveries.pop() - back_at)
                harness.faults.clear()
                losses += 1
            await until(lambda: descriptors() == open_descriptors)
        before = [harness.capture.frames for harness in houses]
        await until(lambda: all(harness.capture.frames > n for harness, n in zip(houses, before, strict=True)))
    assert max(seen) <= SEEN_S + slack_s
    assert max(back) <= BACK_S + slack_s
    measured(losses=losses, seen_within_s=round(max(seen), 2), back_within_s=round(max(back), 2), descriptors_more=0)


async def storm(microphone: Microphone, seconds: float) -> tuple[CaptureHarness, float, float]:
    """Record during a storm of overruns.

    Returns:
        The harness, the error of the recording's length, and the share of a core that was used.
    """
    async with living("clock") as (harness,):
        await harness.hear(RATE_HZ // 5)
        entry = beginning()
        harness.capture.begin(entry, time.monotonic())
        began, worked = time.monotonic(), time.process_time()
        microphone.storm()
        await asyncio.sleep(seconds)
        microphone.calm()
        passed, worked = time.monotonic() - began, time.process_time() - worked
        harness.capture.end(entry, time.monotonic())
        await entry.wait_complete()
        assert harness.faults == []
        assert not entry.partial
    numbers = samples(heard(entry))
    # The samples say exactly how far the last is from the first, except for multiples of 65536.
    wanted = (numbers[-1] - numbers[0]) % 65_536 + 1
    wanted += round((len(numbers) - wanted) / 65_536) * 65_536
    assert abs(wanted / RATE_HZ - passed) < 2  # it is the right multiple
    return harness, abs(len(numbers) - wanted) / wanted, worked / passed


@pytest.fixture
def busy_machine(times: Times) -> Iterator[None]:
    """In the long form, keep every core busy with another program for the length of a block."""
    command = [sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(command) for _ in range(times(0, os.cpu_count() or 1))]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()


@pytest.mark.promise("P29")
@pytest.mark.usefixtures("busy_machine")
async def test_a_storm_of_overruns(microphone: Microphone, times: Times, measured: Measured) -> None:
    harness, error, share = await storm(microphone, times(3, 60))
    assert harness.capture.gaps >= times(10, 200)
    assert error < 0.01
    assert share < 0.3
    measured(
        overruns=harness.capture.gaps,
        lost_ms=harness.capture.lost_frames // 16,
        length_wrong_by=f"{error:.3%}",
        of_a_core=f"{share:.0%}",
    )


@pytest.mark.long
@pytest.mark.promise("P30")
@pytest.mark.parametrize("sample", [0, -300])
@pytest.mark.parametrize("device", ["live", "usb48"])
async def test_digital_silence(microphone: Microphone, measured: Measured, device: str, sample: int) -> None:
    async with living(device) as (harness,):
        await harness.hear(RATE_HZ // 5)
        muted_at = time.monotonic()
        microphone.mute(sample)
        await until(lambda: harness.silences)
        seen = time.monotonic() - muted_at
        assert 9 <= seen <= 12
        await harness.hear(
            2 * RATE_HZ
        )  # it is open again, and the resampler no longer rings from the step at its start
        entry = beginning()
        harness.capture.begin(entry, time.monotonic())
        await entry.wait(2 * 2 * RATE_HZ)
        harness.capture.end(entry, time.monotonic())
        await entry.wait_complete()
        assert entry.silent
        microphone.unmute()
        unmuted_at = time.monotonic()
        await until(lambda: harness.silences == [True, False])
        cleared = time.monotonic() - unmuted_at
        assert cleared <= SEEN_S
        assert harness.faults == []
    measured(seen_after_s=round(seen, 1), cleared_after_s=round(cleared, 1))


# The whole daemon.


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        appliance.serve("echo")
        appliance.start()
        yield appliance


def faults(client: Socket, *codes: str) -> Any:
    """Wait until the state has just these faults."""
    return client.wait("state", lambda state: [fault["code"] for fault in state["faults"]] == list(codes))


@pytest.mark.promise("P28")
def test_unplugged_in_a_dictation(
    appliance: Appliance, microphone: Microphone, times: Times, measured: Measured, slack_s: float
) -> None:
    client = appliance.connect().subscribe("state", "transcript/final")
    cards = itertools.cycle([microphone.plug_in, microphone.plug_in_as_another_card])
    seen, back = [0.0], [0.0]
    for _ in range(times(1, 20)):
        assert client.record("start")["ok"]
        client.wait("state", lambda state: state["state"] == "recording")
        unplugged_at = time.monotonic()
        microphone.unplug()
        shown = faults(client, "microphone")
        seen.append(time.monotonic() - unplugged_at)
        assert "No such device" in shown["faults"][0]["message"]
        assert client.wait("transcript/final").get("partial")
        assert not client.record("start")["ok"]
        next(cards)()
        back_at = time.monotonic()
        faults(client)
        back.append(time.monotonic() - back_at)
    assert client.record("start")["ok"]
    assert client.record("stop")["ok"]
    assert not client.wait("transcript/final").get("partial")
    assert max(seen) <= SEEN_S + slack_s
    assert max(back) <= BACK_S + slack_s
    measured(dictations=len(seen) - 1, seen_within_s=round(max(seen), 2), back_within_s=round(max(back), 2))


@pytest.mark.long
@pytest.mark.promise("P30")
def test_digital_silence_is_shown(appliance: Appliance, microphone: Microphone, measured: Measured) -> None:
    client = appliance.connect().subscribe("state")
    faults(client)
    muted_at = time.monotonic()
    microphone.mute()
    shown = faults(client, "silence")
    seen = time.monotonic() - muted_at
    assert 9 <= seen <= 12
    assert "mute switch" in shown["faults"][0]["message"]
    microphone.unmute()
    unmuted_at = time.monotonic()
    faults(client)
    cleared = time.monotonic() - unmuted_at
    assert cleared <= SEEN_S
    measured(seen_after_s=round(seen, 1), cleared_after_s=round(cleared, 1))
