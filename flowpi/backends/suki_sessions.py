"""The sessions of a Suki backend: made before the press, used for one stream at a time, ended when the backend closes.

Theory of operation. The service shows the state of a session only by its answer to the upgrade (K0 lists no call for
it). So a session is free, in use, or cooling: after a stream that broke, the service may consider it running for an
unknown time. A caller that needs a session receives a free one. If there is none, it waits for one while another one is
made, and receives whichever comes first.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable

from msgspec import Struct

from flowpi.core.errors import BackendError
from flowpi.core.failover import concerns_key, retry_after_s

log = logging.getLogger(__name__)

COOL_FIRST_S = 0.25
COOL_LAST_S = 5.0
"""How long a session is left alone after it was busy or broke: doubling, between these."""

MAX_REFUSALS = 6
"""How many refusals in a row, over about 13 s, before a session is given up."""

END_S = 2.0
"""How long the service has to end all sessions: the machine should not shut down later because of it."""

SLOW_FAILURES = 4
"""The failure count at which the retries before a press begin (`retry_after_s`): nobody waits for these, so they
begin slowly; the key has retries of its own."""


class SukiSession(Struct, eq=False):
    """A session. `made_at`: by the loop's clock. `refusals`: streams in a row that it refused or that broke."""

    id: str
    made_at: float
    refusals: int = 0


class SukiSessionPool:
    """A pool of sessions. Each one from `take` must go back by `give_back`, `cool` or `forget`, whatever happens."""

    def __init__(self, create: Callable[[], Awaitable[str]], end: Callable[[str], Awaitable[None]]) -> None:
        """`create` makes a session and returns its id, `end` ends it; both raise BackendError."""
        self._create = create
        self._end = end
        self._sessions: set[SukiSession] = set()
        self._free: list[SukiSession] = []
        """The session that worked last is at the end, and is used first."""
        self._cooling: dict[SukiSession, asyncio.TimerHandle] = {}
        self._waiting: deque[asyncio.Future[SukiSession]] = deque()
        self._creating: set[asyncio.Task[BackendError | None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._preparing: asyncio.Task[None] | None = None
        self.error: BackendError | None = None
        """Why the last session could not be made; None if it was made."""

    @property
    def free(self) -> int:
        """How many sessions are free."""
        return len(self._free)

    def start(self) -> None:
        """Make the first session in the background, trying until it succeeds."""
        if self._preparing is None:
            self._preparing = asyncio.create_task(self._prepare(), name="prepare a session")

    async def take(self, *, may_create: bool) -> SukiSession:
        """Return a session for one stream. Wait for it without a limit; cancelling is safe at any time.

        `may_create`: if none is free, make another one. If there is none to wait for, that is done anyway.

        Raises:
            BackendError: no session can be made, and there is none to wait for; or the key is wrong.
        """
        if self._free:
            return self._free.pop()
        waiter: asyncio.Future[SukiSession] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        under_way = sum(not task.done() for task in self._creating)
        if (may_create or not self._sessions) and under_way < len(self._waiting):
            self._create_one()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())  # it came in the same moment as the cancellation
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def give_back(self, session: SukiSession) -> None:
        """Return a session that accepts another stream."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(session)
                return
        self._free.append(session)

    def cool(self, session: SukiSession) -> None:
        """Return a session that may still be busy, or accepts no streams any more."""
        session.refusals += 1
        if session.refusals > MAX_REFUSALS:
            self.forget(session)
            self._ending.add(task := asyncio.create_task(self._try_to_end(session), name="end a session"))
            task.add_done_callback(self._ending.discard)
            return
        cool_s = min(COOL_LAST_S, COOL_FIRST_S * 2.0 ** (session.refusals - 1))
        self._cooling[session] = asyncio.get_running_loop().call_later(cool_s, self._cooled, session)

    def forget(self, session: SukiSession) -> None:
        """Drop a session that the service does not know, or that is of no use."""
        self._sessions.discard(session)

    async def close(self) -> None:
        """End all sessions, as far as the service answers in a short time. `take` must not be called any more."""
        if self._preparing is not None:
            self._preparing.cancel()
        for handle in self._cooling.values():
            handle.cancel()
        try:
            async with asyncio.timeout(END_S):
                await asyncio.gather(*self._creating)  # a session that is being made must be ended too
                await asyncio.gather(*self._ending, *(self._try_to_end(session) for session in self._sessions))
        except TimeoutError:
            log.debug("the service did not take the end of all sessions in time")
        finally:
            tasks = [*self._creating, *self._ending, *([self._preparing] if self._preparing else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self) -> None:
        failures = SLOW_FAILURES
        while not self._sessions:
            task = self._create_one()
            # A caller of `take` would receive this error; here nobody needs a session yet.
            if (error := await asyncio.shield(task)) is not None:
                failures += 1
                log.debug("no session ahead of the press: %s", error)
                await asyncio.sleep(retry_after_s(failures, random.random()))

    def _create_one(self) -> "asyncio.Task[BackendError | None]":
        """Start to make a session. It goes on if its caller is cancelled: the next caller uses the session."""
        task = asyncio.create_task(self._created(), name="create a session")
        self._creating.add(task)
        task.add_done_callback(self._creating.discard)
        return task

    async def _created(self) -> BackendError | None:
        try:
            session_id = await self._create()
        except BackendError as error:
            self.error = error
            if concerns_key(error) or error.healed or not self._sessions:
                self._fail(error)
            return error
        self.error = None
        session = SukiSession(session_id, asyncio.get_running_loop().time())
        self._sessions.add(session)
        self.give_back(session)
        return None

    def _fail(self, error: BackendError) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _cooled(self, session: SukiSession) -> None:
        del self._cooling[session]
        if self._waiting:
            self.give_back(session)
        else:
            self._free.insert(0, session)

    async def _try_to_end(self, session: SukiSession) -> None:
        try:
            await self._end(session.id)
        except BackendError as error:
            log.debug("a session is left to the service: %s", error)
