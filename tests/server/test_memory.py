"""What sessions leave in memory when they end: next to nothing. `tests/bench/memory.py` sees it with a real model."""

import asyncio
import subprocess
import sys

from flowpi.server.memory import GIVE_BACK_S, Leftovers
from tests.clock import JumpingLoop
from tests.waiting import PATIENCE_S


def test_what_a_recognition_frees_goes_back_to_the_system() -> None:
    subprocess.run([sys.executable, "-m", "tests.server.littering"], check=True, timeout=2 * PATIENCE_S)


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
