"""Promise P4: six hours without a network, in simulated time with real sockets and a real spool, and in real time."""

import asyncio
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.hints import Hints
from flowpi.delivery.delivery import Delivery
from flowpi.spool.spool import Spool
from tests.backends.fake_backend import FakeBackend
from tests.reliability import one_thread
from tests.reliability.harness import ApplianceHarness, speak
from tests.sound import beginning, echo, noise, spoken, ulid
from tests.waiting import PATIENCE_S

SIX_HOURS_S = 6 * 3600.0
PERIOD_S = 0.1
"""The period of the microphone in these tests."""


def backend_at(port: int) -> FlowBackend:
    return FlowBackend("house", FlowSettings(f"ws://127.0.0.1:{port}/ws"), Hints(), Patience())


def said(number: int) -> bytes:
    return noise(0.2, seed=number)


@pytest.mark.promise("P4")
def test_all_that_was_said_in_six_hours_is_delivered_in_order(
    tmp_path: Path, unused_tcp_port: int, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    count = times(200, 2000)
    harness = ApplianceHarness(tmp_path)
    drained_s = 0.0

    async def main() -> None:
        nonlocal drained_s
        loop = asyncio.get_running_loop()
        async with harness.life(backend_at(unused_tcp_port), pace_s=0.1) as delivery:
            for number in range(count):
                await speak(delivery, beginning(ulid(number)), said(number))
                await asyncio.sleep(SIX_HOURS_S / count)
            assert delivery.spooled == count
            assert harness.lines() == []
            back_at = loop.time()
            async with FakeBackend(port=unused_tcp_port):
                for number in range(count, count + 10):  # nobody has to wait because of those
                    await asyncio.sleep(1)
                    await speak(delivery, beginning(ulid(number)), said(number))
                async with asyncio.timeout(3600):
                    while harness.files():  # noqa: ASYNC110 (of the disk nobody sends an event)
                        await asyncio.sleep(1)
                drained_s = loop.time() - back_at

    one_thread.run(main())
    lines = harness.lines()
    of_then = [line for line in lines if line[0] < PartId(ulid(count))]
    assert of_then == [(PartId(ulid(number)), echo(said(number))) for number in range(count)]
    assert sorted(lines) == [(PartId(ulid(number)), echo(said(number))) for number in range(count + 10)]
    assert harness.told.count(("deferred", PartId(ulid(count + 1)))) == 0
    measured(utterances=count, lost=0, twice=0, out_of_order=0, simulated_hours=6, drained_in_s=round(drained_s))


@pytest.mark.promise("P4")
async def test_who_speaks_meanwhile_does_not_wait(
    tmp_path: Path, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    """On one backend at the same time: dictations with an empty spool, and with a backlog that is being delivered."""
    count, dictations = times(200, 2000), times(10, 100)
    loop = asyncio.get_running_loop()
    backlog = [PartId(ulid(number)) for number in range(count)]
    await keep(tmp_path / "busy" / "spool", backlog)
    idle, busy = ApplianceHarness(tmp_path / "idle"), ApplianceHarness(tmp_path / "busy")
    waits_ms: dict[ApplianceHarness, list[float]] = {idle: [], busy: []}

    async def dictate(harness: ApplianceHarness, delivery: Delivery, number: int) -> None:
        utterance = beginning(ulid(number))
        began = loop.time()
        delivery.begin(utterance)
        for _ in range(3):
            utterance.append(noise(PERIOD_S))
            await asyncio.sleep(0.02)
        utterance.finish(loop.time())
        async with asyncio.timeout(PATIENCE_S):
            while ("delivered", utterance.part_id) not in harness.told:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        waits_ms[harness].append(1000 * (harness.first_packet_at[utterance.part_id] - began))

    async with (
        FakeBackend() as backend,
        idle.life(backend_at(backend.port)) as with_none,
        busy.life(backend_at(backend.port)) as with_backlog,  # as fast as it can
    ):
        for number in range(count, count + dictations):
            await dictate(idle, with_none, number)
            assert with_backlog.spooled or number > count + dictations / 2, "the backlog was too short for this test"
            await dictate(busy, with_backlog, number)
            assert busy.told[-1] is not None
        async with asyncio.timeout(200):
            while with_backlog.spooled:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    texts = [part for part, _ in busy.lines() if part in set(backlog)]
    assert texts == backlog
    without, beside = (statistics.median(waits_ms[harness]) for harness in (idle, busy))
    assert beside < 2 * without + 100  # a busy machine slows both; behind the backlog it would be many seconds
    measured(
        backlog=count,
        dictations=dictations,
        first_packet_ms=round(without, 1),
        first_packet_beside_the_backlog_ms=round(beside, 1),
    )


async def keep(directory: Path, parts: list[PartId]) -> None:
    spool = Spool(directory)
    spool.open()
    for part in parts:
        await spool.keep(spoken(said(0), part.utterance))
    spool.close()
