"""Waiting for what will come about. No test measures how long that takes, unless that is what it asserts."""

import asyncio
import select
import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""The time limit of a wait for what must come about. Only a failure takes that long, so a busy machine may be slow."""


async def until(condition: Callable[[], object]) -> None:
    """Let everything else on the loop run until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (of what only the kernel or a thread knows, nobody sends an event)
            await asyncio.sleep(0)


def wait_for(condition: Callable[[], object], otherwise: str = "it does not come about") -> None:
    """Wait until `condition` holds, which nobody announces, in a test without a loop. `otherwise`: the failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, otherwise
        select.select([], [], [], 0.01)


async def ticks(number: int = 20) -> None:
    """Let every task that can run do so that many times."""
    for _ in range(number):
        await asyncio.sleep(0)
