"""A microphone behind a real PulseAudio, whose server dies or stands still."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.audio.house import BLOCKED_S, House
from tests.dictation.sound import beginning
from tests.rig.soundserver import SoundServer
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
async def house(server: SoundServer) -> AsyncIterator[House]:
    house = House("server")
    house.capture.start()
    watching = asyncio.create_task(house.watch())
    yield house
    watching.cancel()
    house.capture.close()


@pytest.mark.promise("P28")
async def test_it_dies_and_comes_back(house: House, server: SoundServer, measured: Callable[..., None]) -> None:
    await house.hear(1600)
    entry = beginning()
    house.capture.begin(entry, time.monotonic())
    died = time.monotonic()
    server.kill()
    await until(lambda: house.faults)
    seen = time.monotonic() - died
    assert seen <= 1.5
    assert entry.partial
    await until(lambda: len(house.faults) == 2)
    assert [fault.reason for fault in house.faults] == ["Input/output error", "Connection refused"]
    assert "start it" in house.faults[1].hint
    server.start()
    back = time.monotonic()
    await until(lambda: house.recoveries)
    # 1.5 s for the wait, and two that the server takes to wake its device.
    assert house.recoveries[0] - back <= 4
    await house.hear(1600)
    assert len(house.recoveries) == 1
    measured(deaths=1, seen_within_s=round(seen, 2), back_within_s=round(house.recoveries[0] - back, 2))


@pytest.mark.promise("P28")
async def test_it_stands_still_and_goes_on(house: House, server: SoundServer, measured: Callable[..., None]) -> None:
    await house.hear(1600)
    house.blocked_s = 0.0
    stopped = time.monotonic()
    server.stop()
    await until(lambda: house.faults)
    seen = time.monotonic() - stopped
    assert seen <= 1.5 + BLOCKED_S
    assert house.faults[0].reason == "it delivers no sound"
    await asyncio.sleep(1.5)
    assert house.blocked_s < BLOCKED_S
    assert house.capture.is_alive(time.monotonic())
    server.go_on()
    await until(lambda: house.recoveries)
    await house.hear(1600)
    measured(stopped_s=2.5, seen_within_s=round(seen, 2), loop_stood_still_ms=round(house.blocked_s * 1000))


async def test_it_is_not_there_at_the_start(server: SoundServer) -> None:
    server.kill()
    house = House("server")
    house.capture.start()
    assert [fault.reason for fault in house.faults] == ["Connection refused"]
    assert "start it" in house.faults[0].hint
    server.start()
    await until(lambda: house.recoveries)
    await house.hear(1600)
    house.capture.close()
