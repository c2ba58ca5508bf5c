"""Little memory: it is enough to deliver a backlog of long speech, and if it is not, nothing is lost."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.core.ulid import UlidFactory
from flowpi.dsp.format import RATE_HZ
from flowpi.spool.spool import Spool
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.cgroup import MemoryLimit
from tests.rig.microphone import Microphone
from tests.rig.speaker import Gone, Speaker
from tests.waiting import PATIENCE_S

MIB = 1 << 20
LITTLE = 64 * MIB
LONG_S = 330


@pytest.fixture
def lives(tmp_path: Path, microphone: Microphone) -> Iterator[Lives]:
    lives = Lives(tmp_path / "0")
    yield lives
    lives.close()


async def keep(lives: Lives, utterances: int, seconds: int) -> list[str]:
    """Put what an earlier run recorded into the spool. Returns ids, oldest first."""
    ids = UlidFactory()
    names = [ids.make(n, bytes(10)) for n in range(utterances)]
    pcm = np.arange(1, seconds * RATE_HZ + 1).astype("<u2").tobytes()
    spool = Spool(lives.appliance.spool, sync_s=60)
    spool.open()
    for name in names:
        await spool.keep(Utterance(About(name, 0.0), pcm=pcm, complete=True))
    spool.close()
    return names


def peak_mib(pid: int) -> float:
    """Return the largest resident memory of a process so far."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return round(int(found[1]) / 1024, 1)


@pytest.mark.promise("P36")
async def test_a_backlog_of_long_speech_is_worked_off_in_64_mib(
    lives: Lives, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    names = await keep(lives, times(2, 20), LONG_S)
    lives.serve()
    with MemoryLimit(LITTLE) as memory:
        daemon = lives.spawn()
        memory.add(daemon.process.pid)
        daemon.notice("READY=1")
        lives.deliver()
        daemon.check()
        peak = peak_mib(daemon.process.pid)
        assert daemon.end() == 0
    lines = lives.appliance.transcripts()
    assert [line["id"] for line in lines] == names
    frames = LONG_S * RATE_HZ
    assert [json.loads(line["text"])["frames"] for line in lines] == [frames] * len(names)
    measured(utterances=len(names), seconds_each=LONG_S, limit_mib=LITTLE // MIB, peak_mib=peak, killed=0)


@pytest.mark.promise("P36", "P2")
def test_killed_for_want_of_memory_it_loses_nothing(
    lives: Lives, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    lives.serve()
    kills = times(1, 20)
    crowd: list[Speaker] = []
    """Clients, each of which needs memory."""
    for _ in range(kills):
        with MemoryLimit(256 * MIB) as memory:
            daemon = lives.spawn()
            memory.add(daemon.process.pid)
            daemon.notice("READY=1")
            lives.speaker.connect()
            deadline = time.monotonic() + PATIENCE_S
            try:
                while True:
                    lives.speaker.dictate(SPEECH_S)
                    memory.press()
                    crowd.append(Speaker(lives.appliance.socket))
                    crowd[-1].connect()
                    assert time.monotonic() < deadline, f"it lives in {memory.limit} bytes"
            except Gone:
                assert daemon.process.wait(PATIENCE_S) == -signal.SIGKILL
            finally:
                while crowd:
                    crowd.pop().close()
    verdict = lives.last_words()
    assert verdict.good, verdict
    assert verdict.acknowledged >= kills
    measured(killed=kills, acknowledged=verdict.acknowledged, lost=0, twice=0)
