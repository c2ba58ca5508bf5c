"""How long the feeder waits when the sink itself says so, and kinds with several sinks."""

import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.config.schema import Config
from flowpi.core.errors import SinkError
from flowpi.publish import feeder, publisher
from flowpi.publish.messages import Final
from flowpi.publish.sinks import SinkKind
from tests.clock import SkippingLoop
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.waiting import ticks


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(publisher, "NEWS_S", 1e6)
    harness = Harness(tmp_path)
    yield harness
    harness.transcripts.close()


class Saying(Recording):
    """A sink that says when it wants to be tried again."""

    retry_after_s = 1000.0

    async def write(self, final: Final) -> None:
        try:
            await super().write(final)
        except SinkError as error:
            raise SinkError(error.message, retry_after_s=self.retry_after_s) from error


async def test_the_wait_is_as_long_as_the_sink_says(harness: Harness, skipping_clock: SkippingLoop) -> None:
    await harness.begin(Recording)
    sink = Saying()
    sink.refuses_write = True
    async with harness.run(sink=sink):
        await harness.say(1)
        await skipping_clock.until(lambda: harness.faults)
        skipping_clock.skip(990)
        await ticks(100)
        assert sink.calls.count("write") == 1
        skipping_clock.skip(11)
        await skipping_clock.until(lambda: sink.calls.count("write") == 2)
        sink.refuses_write = False
        await skipping_clock.until(lambda: sink.calls[-1] == "close")
        skipping_clock.skip(1001)
        await skipping_clock.until(lambda: sink.got == [1])


async def test_an_endless_wait_ends_when_somebody_asks(harness: Harness, skipping_clock: SkippingLoop) -> None:
    await harness.begin(Recording)
    sink = Saying()
    sink.refuses_write, sink.retry_after_s = True, math.inf
    async with harness.run(sink=sink) as running:
        await harness.say(1)
        await skipping_clock.until(lambda: harness.faults)
        skipping_clock.skip(1e7)
        await ticks(100)
        assert sink.calls.count("write") == 1
        sink.refuses_write = False
        running.retry(["sink"])
        await skipping_clock.until(lambda: sink.got == [1])
        await skipping_clock.until(lambda: not harness.faults)


async def test_the_waits_grow_are_spread_and_begin_anew_once_it_works(
    harness: Harness, skipping_clock: SkippingLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 1000.0)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 1500.0)
    await harness.begin(Recording)
    sink = Recording()
    sink.refuses_write = True
    chances = iter([0.0, 0.5, 1.0, 0.0])
    harness.chance = lambda: next(chances)

    async def tried_again_after(wait_s: float) -> None:
        closed = sink.calls.count("close")
        skipping_clock.skip(wait_s - 100)  # a busy machine may spend the rest of it
        await ticks(100)
        assert sink.calls.count("close") == closed
        skipping_clock.skip(101)
        await skipping_clock.until(lambda: sink.calls.count("open") > closed)

    async with harness.run(sink=sink):
        await harness.say(1)
        await skipping_clock.until(lambda: sink.calls.count("close") == 1)
        for wait_s in (500, 1125):
            await tried_again_after(wait_s)
            await skipping_clock.until(lambda: sink.calls[-1] == "close")
        sink.refuses_write = False
        await tried_again_after(1500)
        await skipping_clock.until(lambda: sink.got == [1] and not harness.faults)
        sink.refuses_write = True
        await harness.say(2)
        await skipping_clock.until(lambda: sink.calls[-1] == "close")
        sink.refuses_write = False
        await tried_again_after(500)
        await skipping_clock.until(lambda: sink.got == [1, 2])


async def test_a_sink_that_receives_no_texts_any_more_holds_none_and_goes_on_later(
    harness: Harness, skipping_clock: SkippingLoop
) -> None:
    await harness.begin(Recording)
    deaf, sink = Recording(durable=False), Recording()
    async with harness.run(sink=deaf) as running:
        await skipping_clock.until(lambda: deaf.calls)
        await harness.say(1, 2)
        (shown,) = await running.sinks()
        assert (shown.state, shown.waiting) == ("open", 0)
    assert deaf.calls == ["open", "close"]
    async with harness.run(sink=sink):
        await skipping_clock.until(lambda: sink.got == [1, 2])


async def test_a_kind_with_several_sinks(harness: Harness, skipping_clock: SkippingLoop) -> None:
    sinks = {f"kind.{name}": Recording() for name in "abc"}

    def settings(config: Config) -> dict[str, str]:
        return {f"kind.{name}": f"kind.{name}" for name in config.device_id or ""}

    running = harness.publisher(
        config=Config(device_id="ab"),
        kinds={"kind": SinkKind(settings, lambda name, _: sinks[name], lambda name: True)},
    )
    await running.open()
    running.start()
    for name in ("kind.a", "kind.b"):
        await skipping_clock.until((harness.positions / f"{name}.position").exists)
    sinks["kind.a"].refuses_write = True
    await harness.say(1)
    await skipping_clock.until(lambda: sinks["kind.b"].got == [1])
    await skipping_clock.until(lambda: harness.faults)
    assert harness.faults == {"sink.kind.a": "it is full: make room"}
    await running.apply(Config(device_id="bc"))
    assert (running.names, harness.faults) == (["kind.b", "kind.c"], {})
    await skipping_clock.until((harness.positions / "kind.c.position").exists)
    await harness.say(2)
    await skipping_clock.until(lambda: sinks["kind.c"].got == [2] and sinks["kind.b"].got == [1, 2])
    assert sinks["kind.b"].calls.count("open") == 1
    await running.close()
