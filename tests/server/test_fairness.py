"""Clients at full speed do not delay a dictation: the final text of one that speaks comes as it does without them."""

import asyncio
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server import transcription
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from tests.rig.appliance import Process
from tests.server.calling import CHUNK, DASH, connect, dictate_flow, echo_of
from tests.server.greedy import again_and_again, dictate
from tests.sound import noise
from tests.speech import two_cities
from tests.waiting import PATIENCE_S, until

PATH = f"{DASH}/ws"
ONE_S = CHUNK * 10
GREEDY = 8


class Costly(EchoEngine):
    """An engine that needs `cost` seconds for each second of audio, and writes down the longest piece."""

    def __init__(self, cost: float) -> None:
        self.cost = cost
        self.longest_s = 0.0

    def recognition(self, expected: Expected) -> EchoRecognition:
        recognition, feed = EchoRecognition(), EchoRecognition.feed

        def slow(pcm: bytes) -> str | None:
            duration_s = len(pcm) / FRAME_BYTES / RATE_HZ
            self.longest_s = max(self.longest_s, duration_s)
            time.sleep(self.cost * duration_s)
            return feed(recognition, pcm)

        recognition.feed = slow  # type: ignore[method-assign]
        return recognition


class Stuck(EchoEngine):
    """An engine that stands still at pieces of more than three seconds until the lever `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.standing = 0

    def recognition(self, expected: Expected) -> EchoRecognition:
        recognition, feed = EchoRecognition(), EchoRecognition.feed

        def wait(pcm: bytes) -> str | None:
            if len(pcm) > len(ONE_S) * 3:
                self.standing += 1
                self.go.wait(PATIENCE_S)
            return feed(recognition, pcm)

        recognition.feed = wait  # type: ignore[method-assign]
        return recognition


async def test_a_dictation_does_not_wait_for_recordings_in_progress() -> None:
    engine = Stuck()
    async with Server(["127.0.0.1:0"], engine) as server, asyncio.timeout(PATIENCE_S):

        async def send_recording() -> str:
            async with connect(server, PATH) as link:
                return await dictate_flow(link, ONE_S * 20)

        recordings = [asyncio.create_task(send_recording()) for _ in range(GREEDY)]
        await until(lambda: engine.standing)
        async with connect(server, PATH) as link:
            assert await dictate_flow(link, ONE_S * 2) == echo_of(ONE_S * 2)
        assert not any(recording.done() for recording in recordings)
        engine.go.set()
        assert await asyncio.gather(*recordings) == [echo_of(ONE_S * 20)] * GREEDY


@pytest.mark.parametrize("seconds", [4, 5, 6, 47])
async def test_a_recording_is_worked_off_in_slices(seconds: int) -> None:
    engine = Costly(0.0)
    async with Server(["127.0.0.1:0"], engine) as server, connect(server, PATH) as link:
        assert await dictate_flow(link, ONE_S * seconds) == echo_of(ONE_S * seconds)
    assert engine.longest_s <= transcription.SLICE_BYTES / FRAME_BYTES / RATE_HZ


@pytest.mark.lengthy
async def test_a_crowd_at_full_speed_delays_a_final_text_by_a_factor_of_two_at_most() -> None:
    """The engine needs 0.4 s for a second of audio, as on a slow Pi: eight clients at full speed have work for ages."""
    pcm = noise(2)
    async with Server(["127.0.0.1:0"], Costly(0.4)) as server, asyncio.timeout(2 * PATIENCE_S):
        url = server.urls[0]
        # The worst alone: other tests on this machine delay it, too.
        alone_s = max([await dictate(url, pcm, pace_s=1.0) for _ in range(3)])
        crowd = [asyncio.create_task(again_and_again(url, noise(11))) for _ in range(GREEDY)]
        await until(lambda: server.sessions == GREEDY)
        crowded_s = statistics.median([await dictate(url, pcm, pace_s=1.0) for _ in range(5)])
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
    assert crowded_s <= 2 * alone_s, f"{crowded_s:.3f} s, alone {alone_s:.3f} s"


@pytest.fixture
def recogniser(tmp_path: Path) -> Iterator[str]:
    """The URL of the real recogniser, in a process of its own."""
    process = Process(["-m", "flowpi", "serve", "--listen", "127.0.0.1:0"], tmp_path, {})
    process.notice("READY=1")
    match = re.search(r"ws://127\.0\.0\.1:\d+", process.log.read_text())
    assert match
    yield match[0]
    process.close()


@pytest.fixture
def crowd(recogniser: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tests.server.greedy", recogniser, str(GREEDY)])
    yield process
    process.kill()
    process.wait()


@pytest.mark.long
async def test_so_it_is_with_the_real_recogniser(recogniser: str, crowd: subprocess.Popen[bytes]) -> None:
    """Pairs, so that whatever else the machine does weighs on both sides."""
    pcm = two_cities().part(0.7, 7.7)
    alone, crowded = list[float](), list[float]()
    for _ in range(7):
        crowd.send_signal(signal.SIGCONT)
        await asyncio.sleep(2.0)
        crowded.append(await dictate(recogniser, pcm, pace_s=1.0))
        crowd.send_signal(signal.SIGSTOP)
        await asyncio.sleep(3.0)  # what the crowd has sent is worked off
        alone.append(await dictate(recogniser, pcm, pace_s=1.0))
    print(f"alone {alone}, with the crowd {crowded}")
    assert statistics.median(crowded) <= 2 * statistics.median(alone)
