import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from flowpi.publish import feeder
from flowpi.publish.publisher import Publisher
from tests.publish.mqtt.broker import Broker
from tests.publish.mqtt.scripted import Scripted, scripted
from tests.publish.mqtt.station import Broken, Parked, Station


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that lets everybody do everything."""
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
async def script() -> AsyncIterator[Scripted]:
    """A broker that does what a test says."""
    async with scripted() as broker:
        yield broker


@pytest.fixture
async def station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Station]:
    """A publisher with MQTT, whose waits are short."""
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 0.1)
    station = Station(tmp_path)
    yield station
    station.transcripts.close()


@pytest.fixture
def broken(station: Station, caplog: pytest.LogCaptureFixture) -> Broken:
    """Wait for a fault with a reason, which is in the log too."""

    async def wait(reason: str) -> None:
        await station.broken(reason)
        assert any(reason in line for line in caplog.messages)

    caplog.set_level(logging.INFO)
    return wait


@pytest.fixture
def parked(station: Station, caplog: pytest.LogCaptureFixture) -> Parked:
    """Wait until a text is parked for a reason, which is in the log too."""

    async def wait(publisher: Publisher, reason: str) -> None:
        await station.parked(publisher, reason)
        assert any(reason in line for line in caplog.messages)

    return wait
