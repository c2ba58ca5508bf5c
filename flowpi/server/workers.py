"""Who is served first: the worker threads that engines run on, and the turns of clients that keep the loop busy.

Theory of operation. No code of an engine ever runs on the event loop. Work comes in slices of a few seconds of audio,
and waits in one of four lanes, each with threads of its own, and each at a lower priority than the one before it:

    FINAL    final texts of clients that speak
    SEGMENT  what final texts will be made of: finding the pauses of clients that speak, and the texts between them
    INTERIM  texts of what somebody is in the middle of saying, which are made anew when more of it was said
    AHEAD    everything of clients that send audio faster than anybody speaks, on one CPU less than there are

So a final text never waits for others, little is left to do for it at the end, and who speaks never waits for files,
late deliveries or a crowd, which share what is left. If there is too much to do, it is the interim texts that become
rare. Within a lane the Unix socket comes first, then slices go by turn.

Messages are parsed on the loop. A client that keeps it busy takes its turns with its peers: see `Turns`.
"""

import asyncio
import contextlib
import enum
import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flowpi.host.cpus import usable_cpus

Result = TypeVar("Result")


class Lane(enum.Enum):
    FINAL = "final"
    SEGMENT = "segment"
    INTERIM = "interim"
    AHEAD = "ahead"


NICENESS = {Lane.FINAL: 0, Lane.SEGMENT: 6, Lane.INTERIM: 10, Lane.AHEAD: 11}
"""What is added to the niceness of the process: with six more, a thread gets a quarter of the CPU time, and with ten a
ninth. With the five of the unit the last is 16, and the scale ends at 19.

A thread that is so far behind may hold the interpreter's lock while another one decodes without it: then the loop waits
for that run of the network to end, a fifth of a second at most.
"""


class Workers:
    """The threads of all lanes, and the turns of busy clients.

    Args:
        cpus: the number of CPUs to use.
    """

    def __init__(self, cpus: int | None = None) -> None:
        cpus = cpus or usable_cpus()
        self._lanes = {lane: _Queue(lane, max(1, cpus - 1) if lane is Lane.AHEAD else cpus) for lane in Lane}
        self.turns = Turns()

    async def run(self, lane: Lane, work: Callable[[], Result], *, local: bool) -> Result:
        """Run `work` on a thread of `lane` and return its result.

        Cancelling the call gives up the place in the queue; work in progress goes on, and keeps its thread.

        Args:
            local: whether the client is on a Unix socket.
        """
        return await self._lanes[lane].run(work, local=local)

    async def attempt(
        self, lane: Lane, work: Callable[[], Result], alone: asyncio.Lock, *, local: bool
    ) -> Result | None:
        """Do the same as `run` while holding `alone`; return None, without running `work`, if that is held already.

        The lock is looked at when the turn has come, so nothing that waits for its turn keeps it from others, and no
        thread waits for the lock.
        """
        return await self._lanes[lane].attempt(work, alone, local=local)

    def close(self) -> None:
        """Cancel the queued work; the work in progress ends by itself."""
        for queue in self._lanes.values():
            queue.close()


class _Queue:
    """The threads of one lane, and the work that waits for one."""

    def __init__(self, lane: Lane, threads: int) -> None:
        self._free = threads
        self._waiting: list[tuple[bool, int, asyncio.Future[None]]] = []  # a heap
        self._numbers = itertools.count()
        self._pool = ThreadPoolExecutor(threads, lane.value, initializer=_be_nice, initargs=(NICENESS[lane],))

    async def run(self, work: Callable[[], Result], *, local: bool) -> Result:
        await self._turn(local)
        return await self._run(work)

    async def attempt(self, work: Callable[[], Result], alone: asyncio.Lock, *, local: bool) -> Result | None:
        await self._turn(local)
        if alone.locked():
            self._end()
            return None
        async with alone:
            return await self._run(work)

    async def _turn(self, local: bool) -> None:
        """Wait until a thread is reserved for the caller."""
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (not local, next(self._numbers), turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end()
            raise

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Run `work` on the thread that is reserved."""
        loop = asyncio.get_running_loop()

        def end(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._end)

        future = self._pool.submit(work)
        future.add_done_callback(end)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        while self._free and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _end(self) -> None:
        self._free += 1
        self._serve()


def _be_nice(more: int) -> None:
    thread = threading.get_native_id()  # on Linux the priority is that of a thread
    os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + more)


class Turns:
    """The turns of clients that keep the loop busy: together they use at most half of its time.

    The time of one client is counted by `Effort`.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def rest(self, spent_s: float) -> None:
        """Wait for the turn of a client that kept the loop busy for `spent_s`, and leave the loop to others as long."""
        async with self._lock:  # so that a crowd of them rests one after the other
            await asyncio.sleep(2 * spent_s)


FREE_SHARE = 0.05
FREE_S = 0.05
"""A client may use this share of the loop's time, and this time at once, without waiting for a turn. One that speaks
uses a thousandth."""

MIN_REST_S = 0.005
"""The shortest time worth a rest: timers of the loop count milliseconds."""


class Effort:
    """The time for which one client has kept the loop busy."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._began_s = asyncio.get_running_loop().time()
        self._spent_s = 0.0
        self._owed_s = 0.0

    @contextlib.contextmanager
    def spend(self) -> Iterator[None]:
        """Count the time of the loop in the context, which must not wait."""
        began_s = time.thread_time()
        try:
            yield
        finally:
            spent_s = time.thread_time() - began_s
            self._spent_s += spent_s
            self._owed_s += spent_s

    async def rest(self) -> None:
        """Let others go first if this client has used more than its free share."""
        free_s = FREE_S + FREE_SHARE * (asyncio.get_running_loop().time() - self._began_s)
        if self._spent_s <= free_s:
            self._owed_s = 0.0
        elif self._owed_s >= MIN_REST_S:
            owed_s, self._owed_s = self._owed_s, 0.0
            await self._turns.rest(owed_s)
