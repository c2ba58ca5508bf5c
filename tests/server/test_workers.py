"""Who is served first: lanes that do not wait for each other, the order within a lane, and turns on the loop."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from flowpi.server.workers import Effort, Lane, Turns, Workers
from tests.clock import JumpingLoop
from tests.waiting import PATIENCE_S, ticks, until

CPUS = 2
"""So the lane of those ahead has one thread, and the order in it is exact."""


class Block:
    """Work that lasts until the lever `end`."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.begun = 0

    def __call__(self) -> None:
        self.begun += 1
        self.end.wait(PATIENCE_S)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    workers = Workers(CPUS)
    yield workers
    workers.close()


@pytest.fixture
async def block(workers: Workers) -> AsyncIterator[Block]:
    block = Block()
    yield block
    block.end.set()


def fill(workers: Workers, lane: Lane, block: Block) -> list[asyncio.Task[None]]:
    """Give each thread of the lane work that lasts, and more work than there are threads."""
    return [asyncio.create_task(workers.run(lane, block, local=False)) for _ in range(3 * CPUS)]


@pytest.mark.parametrize(("busy", "free"), [(one, other) for one in Lane for other in Lane if one is not other])
async def test_no_lane_waits_for_another(workers: Workers, block: Block, busy: Lane, free: Lane) -> None:
    tasks = fill(workers, busy, block)
    await ticks()
    async with asyncio.timeout(PATIENCE_S):
        assert await workers.run(free, lambda: "done", local=False) == "done"
    assert not any(task.done() for task in tasks)


async def test_those_ahead_leave_a_cpu_to_others(workers: Workers, block: Block) -> None:
    fill(workers, Lane.AHEAD, block)
    await until(lambda: block.begun)
    await asyncio.sleep(0.1)  # in which another could begin
    assert block.begun == CPUS - 1


async def test_the_unix_socket_comes_first_and_then_it_goes_by_turn(workers: Workers, block: Block) -> None:
    order: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        blocked = [asyncio.create_task(workers.run(Lane.AHEAD, block, local=False)) for _ in range(CPUS)]
        await ticks()
        waiting = [
            asyncio.create_task(workers.run(Lane.AHEAD, partial(order.append, name), local=local))
            for name, local in (("remote 1", False), ("remote 2", False), ("local 1", True), ("local 2", True))
        ]
        await ticks()
        block.end.set()
        await asyncio.gather(*blocked, *waiting)
    assert order == ["local 1", "local 2", "remote 1", "remote 2"]


async def test_work_that_fails_or_is_cancelled_frees_its_thread(workers: Workers, block: Block) -> None:
    def fail() -> None:
        raise ValueError("canned")

    async with asyncio.timeout(PATIENCE_S):
        for _ in range(50):
            with pytest.raises(ValueError, match="canned"):
                await workers.run(Lane.FINAL, fail, local=False)
        tasks = fill(workers, Lane.FINAL, block)
        await ticks()
        for task in tasks:  # some are in progress, some wait
            task.cancel()
        await asyncio.wait(tasks)
        block.end.set()
        assert await workers.run(Lane.FINAL, lambda: "done", local=False) == "done"


async def test_an_attempt_holds_the_lock_while_it_runs_and_not_while_it_waits(workers: Workers, block: Block) -> None:
    alone, long = asyncio.Lock(), Block()
    async with asyncio.timeout(PATIENCE_S):
        tasks = fill(workers, Lane.INTERIM, block)
        await ticks()
        attempt = asyncio.create_task(workers.attempt(Lane.INTERIM, long, alone, local=True))
        await ticks()
        assert not alone.locked()
        block.end.set()
        await until(lambda: long.begun)
        assert alone.locked()
        long.end.set()
        await asyncio.gather(attempt, *tasks)
    assert not alone.locked()


async def test_an_attempt_that_finds_the_lock_held_gives_its_thread_to_others(workers: Workers) -> None:
    alone = asyncio.Lock()
    async with asyncio.timeout(PATIENCE_S), alone:
        for _ in range(3 * CPUS):
            assert await workers.attempt(Lane.INTERIM, lambda: "done", alone, local=False) is None
        assert await workers.run(Lane.INTERIM, lambda: "done", local=False) == "done"
    assert await workers.attempt(Lane.INTERIM, lambda: "done", alone, local=False) == "done"


async def test_each_lane_is_nicer_than_the_one_before(workers: Workers) -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    own = niceness()
    got = [await workers.run(lane, niceness, local=False) for lane in Lane]
    assert got == [min(19, own + more) for more in (0, 6, 10, 11)]


class TestTurns:
    async def test_one_that_speaks_never_rests(self, jumping_clock: JumpingLoop) -> None:
        effort = Effort(Turns())
        for _ in range(1000):
            with effort.spend():
                pass
            await effort.rest()
        assert jumping_clock.time() == 0.0

    async def test_busy_ones_rest_one_after_the_other(self, jumping_clock: JumpingLoop) -> None:
        turns = Turns()
        await asyncio.gather(*(turns.rest(0.1) for _ in range(8)))
        assert jumping_clock.time() == pytest.approx(8 * 0.2)

    async def test_one_that_keeps_the_loop_busy_rests(self, jumping_clock: JumpingLoop) -> None:
        effort = Effort(Turns())
        with effort.spend():
            sum(range(10_000_000))
        await effort.rest()
        assert jumping_clock.time() > 0.1
        before = jumping_clock.time()
        await effort.rest()  # nothing more is owed
        assert jumping_clock.time() == before
