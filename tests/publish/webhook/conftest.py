from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.publish import publisher
from tests.clock import SkippingLoop
from tests.publish.destinations import Recording
from tests.publish.webhook.receiver import SECRET, receiver
from tests.publish.webhook.station import Station


@pytest.fixture
async def station(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skipping_clock: SkippingLoop
) -> AsyncIterator[Station]:
    monkeypatch.setattr(publisher, "NEWS_S", 1e9)
    async with receiver(SECRET) as one:
        station = Station(tmp_path, skipping_clock, one)
        await station.begin(Recording)
        yield station
        station.transcripts.close()
