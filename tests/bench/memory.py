"""What the recogniser keeps in memory after many dictations: two hundred short ones, one by one and in crowds.

    python -m tests.bench.memory [--sessions N] [--crowd N] [--rounds N] [PYTHON...]

The recogniser is `flowpi serve`, as in `tests.bench.crowd`: with several checkouts, they take turns. It hears one half
of each batch one after the other, as fast as they can be sent, and the other in crowds that speak in real time, which
keeps all of its threads busy. Its memory is read before the first batch, which is to warm up, and after each, when it
has had time to give back what it does not use.
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from flowpi.dsp.format import FRAME_BYTES
from tests.bench import crowd
from tests.bench.crowd import SECOND, Tally, recogniser
from tests.bench.processes import cpu_s, memory_mb
from tests.server.greedy import dictate
from tests.speech import two_cities

LENGTHS_S = (1, 2, 3, 4, 8)
BATCHES = 5
"""The first is to warm up."""

QUIET_S = 12.0
"""The time after which what is not used was given back, and a little more."""


async def _batch(url: str, number: int, sessions: int, together: int) -> None:
    chance, speech = random.Random(number), two_cities().pcm

    def piece() -> bytes:
        length = chance.choice(LENGTHS_S) * SECOND
        start = chance.randrange(0, len(speech) - length, FRAME_BYTES)
        return speech[start : start + length]

    for _ in range(sessions // 2):
        await dictate(url, piece())
    for _ in range(sessions // 2 // together):
        await asyncio.gather(*(crowd.dictate(url, piece(), Tally()) for _ in range(together)))


def measure(sessions: int, together: int, python: str = sys.executable) -> tuple[list[float], float, float]:
    """Return the resident memory in MB after the load and after each batch; its peak; and the CPU time in seconds."""
    with recogniser(python, sorted(os.sched_getaffinity(0))) as (url, pid):
        asyncio.run(asyncio.sleep(QUIET_S))
        resident_mb, began_s = [memory_mb(pid)[0]], cpu_s([pid])
        for number in range(BATCHES):
            asyncio.run(_batch(url, number, sessions // (BATCHES - 1), together))
            asyncio.run(asyncio.sleep(QUIET_S))
            resident_mb.append(memory_mb(pid)[0])
        return resident_mb, memory_mb(pid)[1], cpu_s([pid]) - began_s


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--crowd", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("python", nargs="*", type=os.path.abspath, default=[sys.executable])
    options = parser.parse_args(arguments)
    for _ in range(options.rounds):
        for python in options.python:
            resident_mb, peak_mb, spent_s = measure(options.sessions, options.crowd, python)
            print(
                f"{Path(python)}: RSS {' -> '.join(f'{one:.0f}' for one in resident_mb)} MB, peak {peak_mb:.0f} MB, "
                f"CPU {spent_s:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
