"""A loop whose time jumps to the next timer as soon as nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Jumping(selectors.SelectSelector):
    """`now`: seconds since the loop began."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        assert ready or timeout is not None, "all wait, and nothing will ever come"
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def block(self, seconds: float) -> None:
        """Something holds the loop up for so long."""
        self._jumping.now += seconds


def timers() -> int:
    """How many wake-ups are due."""
    return sum(not handle.cancelled() for handle in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, where an hour takes no time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)
