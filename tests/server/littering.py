"""Dictates once to an engine that leaves free memory between what it keeps, and waits until the system has that back.

    python -m tests.server.littering

A process of its own: in one where much was freed before, the C library may take what is kept here from older holes.
Then all that this frees lies at the end of a thread's memory, which the C library gives back at its own time.
"""

import asyncio
import re
from pathlib import Path

from flowpi.dsp.format import BYTES_PER_S
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from tests.server.calling import DASH, connect, dictate_flow
from tests.waiting import until

GROWTH_MAX_MB = 10


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) / 1024


class Littering(EchoEngine):
    """An engine that keeps 640 KB of each recognition, spread over 64 MB that it frees, as networks do with weights."""

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


async def main() -> None:
    engine = Littering()
    async with Server(["127.0.0.1:0"], engine, give_back_s=0.0) as server:
        before_mb = resident_mb()
        async with connect(server, f"{DASH}/ws?api_key=Bearer%20any") as link:
            await dictate_flow(link, bytes(BYTES_PER_S))
        assert engine.held_mb > before_mb + 2 * GROWTH_MAX_MB
        await until(lambda: resident_mb() <= before_mb + GROWTH_MAX_MB)


if __name__ == "__main__":
    asyncio.run(main())
