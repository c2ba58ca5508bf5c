"""The races of the delivery: a cancel and a failing disk, a second listing and a deletion, and bugs of our own."""

import asyncio
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId, Utterance
from flowpi.backends.current import CurrentBackends
from flowpi.backends.result import Timings
from flowpi.delivery.backlog import MAX_STRIKES
from flowpi.delivery.delivery import Delivery
from flowpi.spool.spool import Spool
from flowpi.wire.roles import FinalText
from tests.backends.fake_backend import FakeBackend
from tests.delivery.test_delivery import Audience, DeliveryHarness, make_backend, speak
from tests.sound import beginning, echo, noise, ulid
from tests.waiting import ticks, until

SOUND = noise(1.234)
ONE = PartId(ulid(1))


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


async def hold(harness: DeliveryHarness, delivery: Delivery, *numbers: int) -> None:
    """Deliver utterances whose texts the disk refuses, so that they are held."""
    harness.audience.full = True
    for number in numbers:
        speak(delivery, ulid(number))
    await harness.audience.until(lambda: all("deferred" in harness.audience.of(ulid(number)) for number in numbers))


class TestDropOfAHeldText:
    @pytest.mark.parametrize("full", [False, True])
    async def test_while_it_is_published_again(self, harness: DeliveryHarness, full: bool) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=0.0) as delivery:
            await hold(harness, delivery, 1, 2)
            publishing = harness.audience.publishing = asyncio.Event()
            await harness.audience.hears("publishing", ulid(1))
            await until(lambda: harness.files() == [ulid(1), ulid(2)])
            delivery.drop(ONE)
            harness.audience.full = full
            told = len(harness.audience.said)
            publishing.set()
            if full:
                await harness.audience.until(lambda: ("not published", ulid(1)) in harness.audience.said[told:])
            await until(lambda: ulid(1) not in harness.files())
            assert [one.part for one in delivery.waiting() if one.part == ONE] == []
            harness.audience.full = False
            await harness.audience.hears("delivered", ulid(2))
            await harness.cleared()
            assert delivery.waiting() == []
            assert harness.audience.of(ulid(1)).count("delivered") == (0 if full else 1)
            assert len(backend.calls) == 2


class TestTakenUpTwice:
    """A spool that is opened late may hold what is known already."""

    async def test_while_it_is_spoken(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = beginning(ulid(1))
            delivery.begin(utterance)
            utterance.append(SOUND)
            await until(harness.files)
            delivery.add([ONE])
            assert delivery.spooled == 0
            utterance.finish(1.0)
            await harness.audience.hears("delivered", ulid(1))
            await harness.cleared()
            assert [text.text for text in harness.audience.texts] == [echo(SOUND)]

    async def test_while_its_text_is_published(self, harness: DeliveryHarness) -> None:
        """The audio is on the disk completely, so the writer has nothing more to do for it."""
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            publishing = harness.audience.publishing = asyncio.Event()
            speak(delivery, ulid(1))
            await harness.audience.hears("publishing", ulid(1))
            await harness.audience.hears("spool works")
            await ticks()
            delivery.add([ONE])
            assert delivery.spooled == 0
            publishing.set()
            await harness.cleared()
            assert len(backend.calls) == len(harness.audience.texts) == 1

    async def test_while_it_is_put_away(self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        deleting, go_on = asyncio.Event(), asyncio.Event()
        really_remove = Spool.remove

        async def remove(spool: Spool, part: PartId, **options: bool) -> None:
            deleting.set()
            await go_on.wait()
            await really_remove(spool, part, **options)

        monkeypatch.setattr(Spool, "remove", remove)
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            speak(delivery, ulid(1))
            await deleting.wait()
            assert harness.files() == [ulid(1)]
            delivery.add([ONE])
            spooled = delivery.spooled
            go_on.set()  # even after a failed assertion, or closing the delivery would wait for it
            assert spooled == 0
            await harness.cleared()
            assert len(backend.calls) == len(harness.audience.texts) == 1

    async def test_while_it_waits(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            speak(delivery, ulid(1))
            await harness.audience.until(lambda: delivery.spooled)
            await ticks()
            before = delivery.waiting()[0]
            delivery.add([ONE])
            assert delivery.spooled == 1
            assert (delivery.waiting()[0].reason, delivery.waiting()[0].attempts) == (before.reason, before.attempts)


class TestMistakes:
    async def test_a_held_text_that_cannot_be_published_is_parked_and_others_go_on(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tries: list[str] = []
        really_publish = Audience.publish

        async def publish(
            audience: Audience, utterance: Utterance, text: FinalText, backend: str, timings: Timings, late: bool
        ) -> None:
            await asyncio.sleep(0)
            if utterance.id == ulid(1) and not audience.full:
                tries.append(text.text)
                raise RuntimeError("a mistake")
            await really_publish(audience, utterance, text, backend, timings, late)

        monkeypatch.setattr(Audience, "publish", publish)
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=0.0) as delivery:
            await hold(harness, delivery, 1, 2)
            harness.audience.full = False
            await harness.audience.hears("delivered", ulid(2))
            await harness.audience.until(lambda: "parked" in harness.audience.of(ulid(1)))
            speak(delivery, ulid(3))
            await harness.audience.hears("delivered", ulid(3))
            await ticks(100)
            assert len(tries) == MAX_STRIKES
            waiting = delivery.waiting()
            assert [(one.part, one.parked) for one in waiting] == [(ONE, True)]
            assert waiting[0].reason == "internal error (RuntimeError): see the journal"
            assert harness.audience.of(ulid(1)).count("parked") == 1
            await until(lambda: harness.files() == [ulid(1)])
            monkeypatch.undo()
            delivery.retry([ONE])
            await harness.audience.hears("delivered", ulid(1))
            await harness.cleared()

    async def test_after_one_while_somebody_speaks_the_end_is_awaited(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before the end, the backlog would send half of what is said as if it was everything."""
        failed = asyncio.Event()
        really_ask = CurrentBackends.ask

        async def ask(backends: CurrentBackends, utterance: Utterance, on_error: object) -> object:
            if not failed.is_set():
                failed.set()
                raise RuntimeError("a mistake")
            return await really_ask(backends, utterance, on_error)  # type: ignore[arg-type]

        monkeypatch.setattr(CurrentBackends, "ask", ask)
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            utterance = beginning(ulid(1))
            delivery.begin(utterance)
            utterance.append(SOUND)
            await failed.wait()
            await until(harness.files)
            await ticks(100)
            told, waiting = harness.audience.of(ulid(1)), delivery.waiting()
            utterance.append(SOUND)
            utterance.finish(1.0)  # even after a failed assertion, or closing the delivery would wait for it
            assert told == []
            assert [(one.part, one.live) for one in waiting] == [(ONE, True)]
            await harness.audience.hears("delivered", ulid(1))
            await harness.cleared()
            assert harness.audience.of(ulid(1)) == ["deferred", "late", "delivered"]
            assert "internal error (RuntimeError)" in next(
                one[2] for one in harness.audience.said if one[0] == "deferred"
            )
            assert [text.text for text in harness.audience.texts] == [echo(SOUND + SOUND)]
            assert len(backend.calls) == 1
