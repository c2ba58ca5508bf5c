"""Waiting for what will come about, in tests that run on an event loop."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 10.0
"""What has not happened by then never will."""


async def until(condition: Callable[[], object]) -> None:
    """Let everything else run until `condition` holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (of what only the kernel or a thread knows, nobody sends an event)
            await asyncio.sleep(0)


async def ticks(number: int = 20) -> None:
    """Let every task run so many times that can."""
    for _ in range(number):
        await asyncio.sleep(0)
