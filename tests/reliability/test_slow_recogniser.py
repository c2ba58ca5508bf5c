"""A recogniser on a slow machine: long speech that was kept comes through, at the first attempt."""

import re
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.spool.spool import Spool
from tests.rig.appliance import Appliance
from tests.rig.cgroup import CpuLimit
from tests.rig.microphone import Microphone
from tests.server.calling import DASH
from tests.sound import ulid
from tests.speech import two_cities, word_error_rate
from tests.waiting import PATIENCE_S

CORES = 0.5
TIMES = 6
"""44 s each, over four minutes together."""


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=clock") as appliance:
        yield appliance


@pytest.fixture
def half_a_core() -> Iterator[CpuLimit]:
    with CpuLimit(CORES) as limit:
        yield limit


async def keep(appliance: Appliance, pcm: bytes) -> None:
    """Put what an earlier run recorded into the spool."""
    spool = Spool(appliance.spool, sync_s=60)
    spool.open()
    await spool.keep(Utterance(About(ulid(1), 0.0), pcm=pcm, complete=True))
    spool.close()


@pytest.mark.long
@pytest.mark.promise("P40")
@pytest.mark.parametrize("listen", ["unix", "tcp"])
async def test_minutes_of_kept_speech_come_through_half_a_core(
    appliance: Appliance, half_a_core: CpuLimit, listen: str, measured: Callable[..., None]
) -> None:
    speech = two_cities()
    await keep(appliance, speech.pcm * TIMES)
    server = appliance.serve("moonshine", None if listen == "unix" else "127.0.0.1:0")
    half_a_core.add(server.process.pid)
    if listen == "tcp":
        (appliance.url,) = (url + DASH + "/ws" for url in re.findall(r"ws://127\.0\.0\.1:\d+", server.log.read_text()))
    began = time.monotonic()
    daemon = appliance.start()
    while appliance.spooled():
        daemon.check()
        server.check()
        assert time.monotonic() < began + 5 * PATIENCE_S, daemon.log.read_text()
        select.select([], [], [], 0.1)
    took_s = time.monotonic() - began
    (line,) = appliance.transcripts()
    errors = word_error_rate(" ".join([speech.text] * TIMES), line["text"])
    assert errors < 0.1
    assert half_a_core.throttled > took_s  # it was at its limit, or the machine was busier than that
    sessions = re.findall(r"session \d+: .*", server.log.read_text())
    assert len(sessions) == 1, sessions
    assert "final text sent" in sessions[0]
    measured(
        cores=CORES,
        seconds_of_speech=round(len(speech.pcm) * TIMES / FRAME_BYTES / RATE_HZ),
        text_after_s=round(took_s),
        attempts=len(sessions),
        parked=0,
        words_wrong_percent=round(100 * errors, 1),
    )
