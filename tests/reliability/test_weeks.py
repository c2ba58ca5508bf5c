"""Weeks without a network, in virtual time: whatever waits for somebody else is still trying at their end.

Each part that connects tries again for ever, after waits that grow to a bound and not beyond it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from flowpi.backends.chain import BackendChain
from flowpi.backends.suki_sessions import SukiSessionPool
from flowpi.backends.tokens import Fetched, FetchedKey
from flowpi.config.command import CommandSettings
from flowpi.core.errors import DaemonUnavailable, NotReached, NotResolved
from flowpi.core.failover import LAST_RETRY_S
from flowpi.delivery.delivery import Delivery
from flowpi.hook import worker
from flowpi.hook.report import make_reporter
from flowpi.hook.state import HookState
from flowpi.hook.worker import Hook
from flowpi.peer import reporter
from flowpi.peer.feed import Feed
from flowpi.peer.standing import Standing
from flowpi.publish import feeder
from flowpi.spool.spool import Spool
from tests.backends.test_chain import Levers
from tests.clock import AtOnce
from tests.delivery.test_delivery import Audience, speak
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.sound import noise, spoken

DAY_S = 24 * 3600.0

GROWN_S = 3600.0
"""When the waits have grown to their bound."""

A_TRY_S = 1.0
"""The longest that one try takes here."""

pytestmark = pytest.mark.usefixtures("jumping_clock")


class Tries(list[float]):
    """When something was tried."""

    def note(self) -> None:
        self.append(asyncio.get_running_loop().time())

    def check(self, longest_s: float) -> None:
        """Check that the tries went on until now, never further apart than the bound, and never in a rush."""
        now = asyncio.get_running_loop().time()
        assert max(after - before for before, after in pairwise([*self, now])) <= longest_s + A_TRY_S
        settled = [after - before for before, after in pairwise(self) if before > GROWN_S]
        assert min(settled) >= longest_s / 2


@pytest.fixture
def weeks_s(times: Callable[[int, int], int]) -> float:
    """Three weeks in the long form, and else a day: over a thousand tries."""
    return times(1, 21) * DAY_S


def unreachable() -> NotReached:
    return NotReached("network is unreachable")


async def test_a_backend_that_another_stands_in_for(weeks_s: float) -> None:
    first, second = Levers("first"), Levers("second")
    first.error = unreachable
    chain = BackendChain([first, second])
    text, _, _ = await chain.text_of(spoken(noise(0.1)), lambda partial, name: None)
    assert text.text == "second"
    await asyncio.sleep(weeks_s)
    Tries(first.probed).check(LAST_RETRY_S)
    await chain.close()


async def test_what_was_said_before_the_network_went(tmp_path: Path, weeks_s: float) -> None:
    backend = Levers("only")
    backend.error = unreachable
    spool = Spool(tmp_path / "spool", sync_s=0.1, executor=AtOnce())
    audience = Audience(spool.directory)
    delivery = Delivery(BackendChain([backend]), spool, audience)
    delivery.start(spool.open())
    utterance = speak(delivery, pcm=noise(0.1))
    await asyncio.sleep(weeks_s)
    Tries(backend.asked).check(LAST_RETRY_S)
    assert "parked" not in audience.of(utterance.id)
    backend.error = None
    await asyncio.sleep(LAST_RETRY_S + A_TRY_S)
    assert audience.of(utterance.id)[-2:] == ["late", "delivered"]
    await delivery.close()
    spool.close()


async def test_a_token_and_a_session_ahead_of_the_press(weeks_s: float) -> None:
    fetched, created = Tries(), Tries()

    async def fetch() -> Fetched:
        fetched.note()
        raise NotResolved("its name has no address")

    async def create() -> str:
        created.note()
        raise unreachable()

    async def end(session: str) -> None:
        raise AssertionError

    key, pool = FetchedKey("cloud", fetch), SukiSessionPool(create, end)
    key.start()
    pool.start()
    await asyncio.sleep(weeks_s)
    fetched.check(LAST_RETRY_S)
    created.check(LAST_RETRY_S)
    await key.close()
    await pool.close()


class Absent(Recording):
    """A broker, or a receiver of webhooks, that nobody reaches."""

    def __init__(self, until_s: float) -> None:
        super().__init__(durable=False)
        self.tries = Tries()
        self._until_s = until_s

    async def open(self) -> None:
        self.tries.note()
        self.refuses_open = self.tries[-1] < self._until_s
        await super().open()


async def test_a_sink(tmp_path: Path, weeks_s: float) -> None:
    harness, sink = Harness(tmp_path), Absent(weeks_s)
    async with harness.run(sink=sink):
        await asyncio.sleep(weeks_s)
        sink.tries.check(feeder.LONGEST_WAIT_S)
        assert "sink.sink" in harness.faults
        await asyncio.sleep(feeder.LONGEST_WAIT_S + A_TRY_S)
        assert harness.faults == {}
    harness.transcripts.close()


async def test_the_hook_and_its_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weeks_s: float) -> None:
    tries = {worker: Tries(), reporter: Tries()}

    for module, noted in tries.items():

        @asynccontextmanager
        async def connected(path: Path, noted: Tries = noted) -> AsyncIterator[Feed]:
            noted.note()
            raise DaemonUnavailable(f"no daemon answers on {path}", "it is tried again")
            yield

        monkeypatch.setattr(module, "connected", connected)
    state, standing = HookState(tmp_path / "state"), Standing()
    hook = Hook(CommandSettings(run=("/bin/true",)), tmp_path / "socket", state, standing)
    reports = make_reporter(tmp_path / "socket", state, standing, retry=hook.retry, skip=hook.skip)
    tasks = [asyncio.create_task(each.run()) for each in (hook, reports)]
    await asyncio.sleep(weeks_s)
    tries[worker].check(worker.LONGEST_ABSENCE_S)
    tries[reporter].check(reporter.LONGEST_WAIT_S)
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    state.close()
