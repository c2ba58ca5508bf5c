"""Backends that take the place of others."""

import asyncio
from pathlib import Path

import pytest

from flowpi.backends.chain import BackendChain
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.hints import Hints
from tests.backends.fake_backend import Call, FakeBackend, hangs_up
from tests.delivery.test_delivery import DeliveryHarness, make_backend, speak
from tests.sound import echo, ulid
from tests.waiting import ticks, until


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


async def test_other_backends_are_tried_at_once(harness: DeliveryHarness, unused_tcp_port: int) -> None:
    async with harness.life(make_backend(f"ws://127.0.0.1:{unused_tcp_port}/ws"), pause_s=3600) as delivery:
        speak(delivery)
        await harness.audience.until(lambda: delivery.spooled)
        async with FakeBackend() as service:
            delivery.use(BackendChain([make_backend(service.url, "other")]))
            await harness.audience.hears("late", ulid(1), "other")
            await harness.audience.hears("delivered", ulid(1))


@pytest.mark.parametrize("late", [False, True])
async def test_the_old_ones_are_closed_when_their_attempts_are_over(harness: DeliveryHarness, late: bool) -> None:
    async def waits(call: Call) -> None:
        await call.authenticate()
        await call.hear()
        await go_on.wait()
        await call.say(echo(call.pcm), final=True)

    class Closing(FlowBackend):
        closed = False

        async def close(self) -> None:
            self.closed = True
            await super().close()

    go_on = asyncio.Event()
    async with FakeBackend([hangs_up, waits] if late else [waits]) as service, FakeBackend() as other:
        backend = Closing("house", FlowSettings(service.url), Hints(), Patience())
        async with harness.life(backend) as delivery:
            speak(delivery)
            call = await service.called(2 if late else 1)
            await until(lambda: call.committed)
            delivery.use(BackendChain([make_backend(other.url, "other")]))
            await ticks()
            assert not backend.closed
            go_on.set()
            await harness.audience.hears("late" if late else "text", ulid(1), "house")
            await until(lambda: backend.closed)
    assert not other.calls


async def test_the_end_waits_for_those_that_are_being_closed(harness: DeliveryHarness) -> None:
    class Slow(FlowBackend):
        closed = False

        async def close(self) -> None:
            await ticks(50)
            await super().close()
            self.closed = True

    async with FakeBackend() as service:
        backend = Slow("house", FlowSettings(service.url), Hints(), Patience())
        async with harness.life(backend) as delivery:
            delivery.use(BackendChain([make_backend(service.url, "other")]))
        assert backend.closed
