"""The memory that sessions leave behind when they end.

Theory of operation. Nothing is kept for a session that ended. But decoding 15 s of speech needs 30 MB for a moment, in
blocks of all sizes and in several threads at once, and what is free between blocks that are in use stays with the C
library: after a few dozen segments 65 to 120 MB, half as much again as the models need. All of it goes back at once.

The others of the C library's means were measured too. Mapping large blocks by themselves (M_MMAP_THRESHOLD, 1 or 4 MB)
leaves 50 MB, and makes the kernel clear every page anew for each decode: 7 to 13 % more CPU time. onnxruntime's own
arena keeps what the longest segment needed.
"""

import asyncio
from collections.abc import Awaitable, Callable

GIVE_BACK_S = 10.0
"""The time between the end of a session and giving back. With the pages that must be mapped again it costs 30 to 140 ms
of CPU in a crowd: 0.3 to 1.4 % of one CPU at this rate."""


class Leftovers:
    """Gives memory back after the end of a session, once for all that end within `after_s`.

    Args:
        give_back: does it.
    """

    def __init__(self, give_back: Callable[[], Awaitable[None]], after_s: float = GIVE_BACK_S) -> None:
        self._give_back = give_back
        self._after_s = after_s
        self._task: asyncio.Task[None] | None = None

    def session_ended(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._later(), name="give memory back")

    async def _later(self) -> None:
        await asyncio.sleep(self._after_s)
        await self._give_back()

    async def close(self) -> None:
        """Give nothing back any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
