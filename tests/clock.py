"""Loops whose time jumps: to the next timer as soon as nothing else is left to do, or as far as a test says."""

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from tests.waiting import PATIENCE_S

P = ParamSpec("P")
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


class AtOnce(ThreadPoolExecutor):
    """Does the work of threads at once: nobody can tell how far the time jumps meanwhile."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        done = Future[T]()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        self.set_default_executor(AtOnce())

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """There are no threads to wait for."""

    def time(self) -> float:
        return self._jumping.now

    def block(self, seconds: float) -> None:
        """Something holds the loop up for so long."""
        self._jumping.now += seconds


class SkippingLoop(asyncio.SelectorEventLoop):
    """Time that passes as always, for real sockets and threads, and a lever that sets it forward."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped_s = 0.0

    def time(self) -> float:
        return super().time() + self._skipped_s

    def skip(self, seconds: float) -> None:
        """Set the time forward. Timers that became due run once the caller waits."""
        self._skipped_s += seconds

    async def until(self, condition: Callable[[], object]) -> None:
        """Let everything else run until `condition` holds, in real time, however far the time is set forward."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it does not come about"
            await asyncio.sleep(0)


def timers() -> int:
    """How many wake-ups are due."""
    return sum(not handle.cancelled() for handle in asyncio.get_running_loop()._scheduled)  # type: ignore[attr-defined]


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, where an hour takes no time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)
