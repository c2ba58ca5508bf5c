from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.publish import publisher
from flowpi.publish.webhook import sink as module
from tests.clock import SkippingLoop
from tests.publish.test_sinks import Recording
from tests.publish.webhook.receiver import SECRET, receiver
from tests.publish.webhook.station import Station


@pytest.fixture
async def station(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipping_clock: SkippingLoop
) -> AsyncIterator[Station]:
    monkeypatch.setattr(publisher, "NEWS_S", 1e9)
    monkeypatch.setattr(module, "JITTER", 0.0)
    async with receiver(SECRET) as one:
        station = Station(tmp_path, skipping_clock, one)
        await station.begin(Recording)
        yield station
        station.transcripts.close()
