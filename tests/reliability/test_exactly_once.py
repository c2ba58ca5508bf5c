"""Promise P3: wherever the link breaks, and whenever the daemon stops, a text is in the file once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.hints import Hints
from flowpi.delivery.delivery import Delivery
from flowpi.delivery.late import LateDelivery
from flowpi.delivery.live import LiveDelivery
from flowpi.spool.spool import Spool
from flowpi.spool.writer import SpoolWriter
from tests.backends.fake_backend import Call, FakeBackend, Script, hangs_up_after_commit, hangs_up_in_the_middle, works
from tests.reliability import one_thread
from tests.reliability.harness import ApplianceHarness, speak
from tests.sound import beginning, echo, noise, ulid
from tests.waiting import ticks

SOUND = noise(0.35)


async def breaks_with_the_final(call: Call) -> None:
    """Reset the connection when all bytes of the text are on the way."""
    await call.authenticate()
    await call.hear()
    await call.say(echo(call.pcm), final=True)
    call.socket.transport.abort()


async def breaks_before_the_final(call: Call) -> None:
    await call.authenticate()
    await call.hear()
    await call.say("it was")
    call.socket.transport.abort()


SCRIPTS: list[Script] = [
    works,
    breaks_with_the_final,
    breaks_before_the_final,
    hangs_up_after_commit,
    hangs_up_in_the_middle,
]


OURS = tuple(f"<coroutine object {kind.__name__}." for kind in (LiveDelivery, LateDelivery, SpoolWriter))
"""The beginnings of the names of tasks that a kill ends; those of the server go on."""


async def lives_on(harness: ApplianceHarness, backend: FakeBackend) -> None:
    """Run once more without faults."""
    async with harness.life(FlowBackend("house", FlowSettings(backend.url), Hints(), Patience())):
        async with asyncio.timeout(600):
            while harness.files():  # noqa: ASYNC110 (of the disk nobody sends an event)
                await asyncio.sleep(0.01)


@pytest.mark.promise("P3")
def test_a_text_is_in_the_file_once_wherever_the_link_breaks_and_the_daemon_stops(
    tmp_path: Path, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    stops = times(50, 500)
    ends = Counter[str]()

    async def turns_of(script: Script, harness: ApplianceHarness) -> int:
        """Return the number of turns of the loop from the press until everything is done."""
        async with FakeBackend([script, works]) as service:
            backend = FlowBackend("house", FlowSettings(service.url), Hints(), Patience())
            async with harness.life(backend, retry_s=lambda failures: 0.0) as delivery:
                await speak(delivery, beginning(ulid(1)), SOUND)
                turns = 0
                while harness.files() or not harness.lines():
                    await ticks(1)
                    turns += 1
                return turns

    async def stopped(script: Script, harness: ApplianceHarness, lines: int, turns: int, kill: bool) -> None:
        """Stop a number of turns after a number of lines are in the file; with `kill`, without time for anything."""
        async with FakeBackend([script, works]) as service:
            backend = FlowBackend("house", FlowSettings(service.url), Hints(), Patience())

            def make(spool: Spool) -> Delivery:
                chain = BackendChain([backend], max_failures=1_000_000)
                return Delivery(chain, spool, harness, retry_s=lambda failures: 0.0)

            delivery, spool = await harness.open(make)
            utterance = beginning(ulid(1))
            await speak(delivery, utterance, SOUND)
            while len(harness.lines()) < lines:  # noqa: ASYNC110 (of the disk nobody sends an event)
                await asyncio.sleep(0)
            await ticks(turns)
            recorded = utterance.durable is not None and utterance.durable.done()
            if kill:
                tasks = [task for task in asyncio.all_tasks() if repr(task.get_coro()).startswith(OURS)]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            await delivery.close()
            harness.close(spool)
            ends["stopped with the text in the file"] += bool(harness.lines())
            ends["and the audio still in the spool"] += bool(harness.lines() and harness.files())
            ends["recorded"] += recorded
            if recorded:
                assert harness.lines() or harness.files()
            await lives_on(harness, service)
        assert len(harness.lines()) <= 1
        if kill and not recorded:
            return
        assert harness.lines() == [(PartId(ulid(1)), echo(SOUND))]
        assert set(harness.said) == {(PartId(ulid(1)), echo(SOUND))}
        ends["published"] += 1
        ends["said twice"] += len(harness.said) > 1

    async def main() -> None:
        for at, script in enumerate(SCRIPTS):
            whole = await turns_of(script, ApplianceHarness(tmp_path / f"{at}"))
            each = stops // len(SCRIPTS)
            for number in range(each):
                harness = ApplianceHarness(tmp_path / f"{at}-{number}")
                if number % 2:
                    await stopped(script, harness, 1, number // 2 % 4, kill=True)
                else:
                    await stopped(script, harness, 0, round((number + 0.5) * whole / each), kill=number % 4 == 2)

    one_thread.run(main())
    assert ends["published"] >= ends["recorded"] > stops / 4
    assert ends["and the audio still in the spool"]
    measured(stops=stops, published_twice_in_the_file=0, lost=0, **ends)
