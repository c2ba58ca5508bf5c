"""The sessions of a Suki backend, where an hour takes no time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from flowpi.backends.suki_sessions import END_S, MAX_REFUSALS, SukiSession, SukiSessionPool
from flowpi.core.errors import BackendError, HttpError, LinkError
from tests import clock


class Service:
    """Makes and ends sessions, with levers. Seconds are of the jumping clock."""

    def __init__(self) -> None:
        self.create_s = 0.5
        self.end_s = 0.0
        self.failures: list[BackendError] = []
        """What the next creations end with."""
        self.made: list[str] = []
        self.ended: list[str] = []
        self.tries = 0
        self.pool = SukiSessionPool(self.create, self.end)

    async def create(self) -> str:
        self.tries += 1
        await asyncio.sleep(self.create_s)
        if self.failures:
            raise self.failures.pop(0)
        self.made.append(f"session {len(self.made) + 1}")
        return self.made[-1]

    async def end(self, session_id: str) -> None:
        await asyncio.sleep(self.end_s)
        if session_id in self.ended:
            raise LinkError("ended twice")
        self.ended.append(session_id)

    async def take(self, *, may_create: bool = True) -> SukiSession:
        return await self.pool.take(may_create=may_create)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def leaves_nothing() -> None:
        await main
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert clock.timers() == 0

    clock.run(leaves_nothing())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_one_is_there_before_the_press() -> None:
    async def main() -> None:
        service = Service()
        service.pool.start()
        service.pool.start()
        await asyncio.sleep(1)
        began = now()
        session = await service.take()
        assert (session.id, now()) == ("session 1", began)
        service.pool.give_back(session)
        await service.pool.close()
        assert service.made == service.ended == ["session 1"]

    run(main())


def test_the_press_finds_the_one_that_is_being_made() -> None:
    async def main() -> None:
        service = Service()
        service.pool.start()
        await asyncio.sleep(0.2)
        assert (await service.take()).id == "session 1"
        assert now() == 0.5
        assert service.tries == 1
        await service.pool.close()

    run(main())


def test_the_next_press_has_another_made_while_the_first_stream_runs() -> None:
    async def main() -> None:
        service = Service()
        first = await service.take()
        second = await service.take()
        assert (first.id, second.id, now()) == ("session 1", "session 2", 1.0)
        await service.pool.close()
        assert sorted(service.ended) == ["session 1", "session 2"]

    run(main())


def test_the_next_press_takes_the_first_one_if_that_is_sooner() -> None:
    async def main() -> None:
        service = Service()
        first = await service.take()
        asyncio.get_running_loop().call_later(0.1, service.pool.give_back, first)
        assert await service.take() is first
        assert now() == pytest.approx(0.6)
        assert (await service.take()).id == "session 2"  # it was made all the same, and is not lost
        assert service.tries == 2
        await service.pool.close()

    run(main())


def test_what_worked_last_goes_first() -> None:
    async def main() -> None:
        service = Service()
        sessions = [await service.take() for _ in range(3)]
        service.pool.cool(sessions[0])
        service.pool.give_back(sessions[1])
        service.pool.give_back(sessions[2])
        await asyncio.sleep(1)
        assert [(await service.take()).id for _ in range(3)] == ["session 3", "session 2", "session 1"]
        await service.pool.close()

    run(main())


def test_a_busy_one_cools_longer_each_time_until_it_is_given_up() -> None:
    async def main() -> None:
        service = Service()
        session = await service.take()
        waits = []
        for _ in range(MAX_REFUSALS):
            began = now()
            service.pool.cool(session)
            assert await service.take(may_create=False) is session
            waits.append(now() - began)
        assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0]
        service.pool.cool(session)
        assert (await service.take(may_create=False)).id == "session 2"  # there is none to wait for
        assert service.ended == ["session 1"]
        await service.pool.close()
        assert service.ended == ["session 1", "session 2"]

    run(main())


def test_one_that_the_service_does_not_know_is_not_ended() -> None:
    async def main() -> None:
        service = Service()
        service.pool.forget(await service.take())
        await service.pool.close()
        assert service.ended == []

    run(main())


def test_none_can_be_made() -> None:
    async def main() -> None:
        service = Service()
        service.failures = [LinkError("down")]
        with pytest.raises(LinkError, match=r"^down$"):
            await service.take()
        assert (await service.take()).id == "session 1"
        assert service.pool.error is None
        await service.pool.close()

    run(main())


def test_none_can_be_made_but_one_comes_back() -> None:
    async def main() -> None:
        service = Service()
        first = await service.take()
        service.failures = [LinkError("down")]
        asyncio.get_running_loop().call_later(3, service.pool.give_back, first)
        assert await service.take() is first
        assert str(service.pool.error) == "down"
        await service.pool.close()

    run(main())


def test_a_wrong_key_is_told_at_once() -> None:
    async def main() -> None:
        service = Service()
        await service.take()
        service.failures = [HttpError("no", status=401)]
        with pytest.raises(HttpError):
            await service.take()
        assert now() == 1.0
        await service.pool.close()

    run(main())


def test_ahead_of_the_press_it_is_tried_again_and_never_in_a_hurry() -> None:
    async def main() -> None:
        service = Service()
        service.failures = [LinkError("down")] * 1000
        service.pool.start()
        await asyncio.sleep(60)
        assert 2 <= service.tries <= 5
        service.failures = []
        await asyncio.sleep(61)
        assert service.made == ["session 1"]
        await service.pool.close()

    run(main())


@pytest.mark.parametrize("after_s", [0.0, 0.25, 0.5])
def test_cancelled_while_it_waits(after_s: float) -> None:
    """At the moment of the session too, which then belongs to the next."""

    async def main() -> None:
        service = Service()
        taking = asyncio.create_task(service.take())
        asyncio.get_running_loop().call_later(after_s, taking.cancel)
        await asyncio.gather(taking, return_exceptions=True)
        taken = [] if taking.cancelled() else [taking.result()]
        if not taken:
            assert (await service.take()).id == "session 1"
        await service.pool.close()
        assert service.made == service.ended == ["session 1"]

    run(main())


def test_cancelled_when_it_has_just_come() -> None:
    async def main() -> None:
        service = Service()
        first = await service.take()
        taking = asyncio.create_task(service.take())
        await asyncio.sleep(0.1)
        service.pool.give_back(first)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert taking.cancelled()
        assert await service.take() is first
        await service.pool.close()

    run(main())


def test_one_that_is_being_made_at_the_close_is_ended_too() -> None:
    async def main() -> None:
        service = Service()
        service.pool.start()
        await asyncio.sleep(0.1)
        await service.pool.close()
        assert service.made == service.ended == ["session 1"]

    run(main())


def test_one_that_cools_at_the_close_is_ended_too() -> None:
    async def main() -> None:
        service = Service()
        service.pool.cool(await service.take())
        await service.pool.close()
        assert service.ended == ["session 1"]

    run(main())


@pytest.mark.parametrize(("create_s", "end_s"), [(0.5, 60.0), (60.0, 0.0)])
def test_a_close_takes_no_longer_than_it_may(create_s: float, end_s: float) -> None:
    async def main() -> None:
        service = Service()
        service.end_s = end_s
        service.pool.cool(await service.take())
        service.create_s = create_s
        waiting = asyncio.create_task(service.take(may_create=True))
        await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        began = now()
        await service.pool.close()
        assert now() - began == pytest.approx(END_S)

    run(main())
