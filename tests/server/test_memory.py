"""What sessions leave in memory when they end: next to nothing. `tests/bench/memory.py` sees it with a real model."""

import asyncio
import re
from pathlib import Path

from flowpi.dsp.format import BYTES_PER_S
from flowpi.host.memory import give_back
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from flowpi.server.memory import GIVE_BACK_S, Leftovers
from tests.clock import JumpingLoop
from tests.server.calling import DASH, connect, dictate_flow
from tests.waiting import until

GROWTH_MAX_MB = 10


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) / 1024


class Littering(EchoEngine):
    """An engine that keeps 64 KB of each recognition, spread over 64 MB that it frees, as networks do with weights."""

    def __init__(self) -> None:
        self.kept = list[bytes]()
        self.held_mb = 0.0

    def recognition(self, expected: Expected) -> EchoRecognition:
        blocks = list[bytes]()
        for _ in range(640):
            blocks.append(b"x" * 100_000)
            self.kept.append(b"x" * 1000)
        self.held_mb = resident_mb()
        return EchoRecognition()


async def dictate(server: Server, pcm: bytes) -> str:
    async with connect(server, f"{DASH}/ws?api_key=Bearer%20any") as link:
        return await dictate_flow(link, pcm)


async def test_what_a_recognition_frees_goes_back_to_the_system() -> None:
    engine = Littering()
    async with Server(["127.0.0.1:0"], engine, give_back_s=0.0) as server:
        give_back()  # what earlier tests left would hide what this one takes
        before_mb = resident_mb()
        await dictate(server, bytes(BYTES_PER_S))
        assert engine.held_mb > before_mb + 2 * GROWTH_MAX_MB
        await until(lambda: resident_mb() <= before_mb + GROWTH_MAX_MB)


async def test_memory_goes_back_once_for_all_sessions_that_end_together(jumping_clock: JumpingLoop) -> None:
    given_back_s = list[float]()

    async def give_back() -> None:
        given_back_s.append(jumping_clock.time())

    leftovers = Leftovers(give_back)
    for pause_s in (0, 1, GIVE_BACK_S, 1):
        await asyncio.sleep(pause_s)
        leftovers.session_ended()
    await asyncio.sleep(3 * GIVE_BACK_S)
    assert given_back_s == [GIVE_BACK_S, 1 + 2 * GIVE_BACK_S]
    leftovers.session_ended()
    await leftovers.close()
    await asyncio.sleep(2 * GIVE_BACK_S)
    assert len(given_back_s) == 2
