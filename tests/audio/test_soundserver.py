"""A microphone behind a real PulseAudio server that dies or stops."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.audio.harness import BLOCKED_S, CaptureHarness
from tests.rig.soundserver import SoundServer
from tests.sound import beginning
from tests.waiting import until


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    server = SoundServer(tmp_path / "server")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(server.config_path))
    monkeypatch.setenv("PULSE_COOKIE", str(tmp_path / "cookie"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def harness(server: SoundServer) -> AsyncIterator[CaptureHarness]:
    harness = CaptureHarness("server")
    harness.capture.start()
    watching = asyncio.create_task(harness.watch())
    yield harness
    watching.cancel()
    harness.capture.close()


@pytest.mark.promise("P28")
async def test_it_dies_and_comes_back(
    harness: CaptureHarness, server: SoundServer, measured: Callable[..., None], slack_s: float
) -> None:
    await harness.hear(1600)
    entry = beginning()
    harness.capture.begin(entry, time.monotonic())
    died = time.monotonic()
    server.kill()
    await until(lambda: harness.faults)
    seen = time.monotonic() - died
    assert seen <= 1.5 + slack_s
    assert entry.partial
    await until(lambda: len(harness.faults) == 2)
    assert [fault.reason for fault in harness.faults] == ["Input/output error", "Connection refused"]
    assert "start it" in harness.faults[1].hint
    server.start()
    back = time.monotonic()
    await until(lambda: harness.recoveries)
    # 1.5 s for the wait, and the two seconds that the server needs to wake its device.
    assert harness.recoveries[0] - back <= 4 + slack_s
    await harness.hear(1600)
    assert len(harness.recoveries) == 1
    measured(deaths=1, seen_within_s=round(seen, 2), back_within_s=round(harness.recoveries[0] - back, 2))


@pytest.mark.promise("P28")
async def test_it_stands_still_and_goes_on(
    harness: CaptureHarness, server: SoundServer, measured: Callable[..., None], slack_s: float
) -> None:
    await harness.hear(1600)
    harness.blocked_s = 0.0
    stopped = time.monotonic()
    server.stop()
    await until(lambda: harness.faults)
    seen = time.monotonic() - stopped
    assert seen <= 1.5 + slack_s
    assert harness.faults[0].reason == "it delivers no sound"
    await asyncio.sleep(1.5)
    assert harness.blocked_s < BLOCKED_S + slack_s
    assert harness.capture.is_alive(time.monotonic())
    server.go_on()
    await until(lambda: harness.recoveries)
    await harness.hear(1600)
    measured(stopped_s=2.5, seen_within_s=round(seen, 2), loop_stood_still_ms=round(harness.blocked_s * 1000))


async def test_it_is_not_there_at_the_start(server: SoundServer) -> None:
    server.kill()
    harness = CaptureHarness("server")
    harness.capture.start()
    assert [fault.reason for fault in harness.faults] == ["Connection refused"]
    assert "start it" in harness.faults[0].hint
    server.start()
    await until(lambda: harness.recoveries)
    await harness.hear(1600)
    harness.capture.close()
