"""A loop that passes hours in seconds, with real files and sockets: its time jumps, and no thread is left behind.

What the code under test runs on a thread is done at once, and its result arrives one turn of the loop later. So every
run is the same, and between two turns there is each moment at which a write is done and its result not known yet.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from tests.clock import JumpingLoop

T = TypeVar("T")


class AtOnce(Executor):
    """Does everything before `submit` returns."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class OneThreadLoop(JumpingLoop):
    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()

        def tell(act: Callable[[Any], None], what: object) -> None:
            if not future.done():
                act(what)

        try:
            self.call_soon(tell, future.set_result, func(*args))
        except Exception as error:
            self.call_soon(tell, future.set_exception, error)
        return future


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=OneThreadLoop) as runner:
        return runner.run(main)
