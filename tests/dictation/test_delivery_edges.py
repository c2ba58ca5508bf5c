"""Where two things meet in the delivery: a cancel and a failing disk, a second look and a deletion, our own mistake."""

import asyncio
from pathlib import Path

import pytest

from flowpi.dictation.backlog import MAX_STRIKES
from flowpi.dictation.delivery import Delivery
from flowpi.dictation.in_use import BackendsInUse
from flowpi.dictation.session import Timings
from flowpi.dictation.spool import Spool
from flowpi.dictation.utterance import PartId, Utterance
from flowpi.wire.roles import FinalText
from tests.dictation.backend import FakeBackend
from tests.dictation.sound import beginning, echo, noise, ulid
from tests.dictation.test_delivery import Audience, House, make_link, speak
from tests.waiting import ticks, until

SOUND = noise(1.234)
ONE = PartId(ulid(1))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "spool")


async def hold(house: House, delivery: Delivery, *numbers: int) -> None:
    """Their texts are there, and the disk does not take them."""
    house.audience.full = True
    for number in numbers:
        speak(delivery, ulid(number))
    await house.audience.until(lambda: all("deferred" in house.audience.of(ulid(number)) for number in numbers))


class TestDropOfAHeldText:
    @pytest.mark.parametrize("full", [False, True])
    async def test_while_it_is_published_again(self, house: House, full: bool) -> None:
        async with FakeBackend() as backend, house.life(make_link(backend.url), rewrite_s=0.0) as delivery:
            await hold(house, delivery, 1, 2)
            publishing = house.audience.publishing = asyncio.Event()
            await house.audience.hears("publishing", ulid(1))
            await until(lambda: house.files() == [ulid(1), ulid(2)])
            delivery.drop(ONE)
            house.audience.full = full
            told = len(house.audience.said)
            publishing.set()
            if full:
                await house.audience.until(lambda: ("not published", ulid(1)) in house.audience.said[told:])
            await until(lambda: ulid(1) not in house.files())
            assert [one.part for one in delivery.waiting() if one.part == ONE] == []
            house.audience.full = False
            await house.audience.hears("delivered", ulid(2))
            await house.cleared()
            assert delivery.waiting() == []
            assert house.audience.of(ulid(1)).count("delivered") == (0 if full else 1)
            assert len(backend.calls) == 2


class TestTakenUpTwice:
    """The spool was opened late: what it holds may be known already."""

    async def test_while_it_is_spoken(self, house: House) -> None:
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            utterance = beginning(ulid(1))
            delivery.begin(utterance)
            utterance.append(SOUND)
            await until(house.files)
            delivery.add([ONE])
            assert delivery.spooled == 0
            utterance.finish(1.0)
            await house.audience.hears("delivered", ulid(1))
            await house.cleared()
            assert [text.text for text in house.audience.texts] == [echo(SOUND)]

    async def test_while_its_text_is_published(self, house: House) -> None:
        """All of it is on the disk: the spool has nothing to do with it any more."""
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            publishing = house.audience.publishing = asyncio.Event()
            speak(delivery, ulid(1))
            await house.audience.hears("publishing", ulid(1))
            await house.audience.hears("spool works")
            await ticks()
            delivery.add([ONE])
            assert delivery.spooled == 0
            publishing.set()
            await house.cleared()
            assert len(backend.calls) == len(house.audience.texts) == 1

    async def test_while_it_is_put_away(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        deleting, go_on = asyncio.Event(), asyncio.Event()
        really_remove = Spool.remove

        async def remove(spool: Spool, part: PartId, **options: bool) -> None:
            deleting.set()
            await go_on.wait()
            await really_remove(spool, part, **options)

        monkeypatch.setattr(Spool, "remove", remove)
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            speak(delivery, ulid(1))
            await deleting.wait()
            assert house.files() == [ulid(1)]
            delivery.add([ONE])
            spooled = delivery.spooled
            go_on.set()  # whatever came of it: the end of the delivery waits for it
            assert spooled == 0
            await house.cleared()
            assert len(backend.calls) == len(house.audience.texts) == 1

    async def test_while_it_waits(self, house: House) -> None:
        async with house.life(make_link("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            speak(delivery, ulid(1))
            await house.audience.until(lambda: delivery.spooled)
            await ticks()
            before = delivery.waiting()[0]
            delivery.add([ONE])
            assert delivery.spooled == 1
            assert (delivery.waiting()[0].reason, delivery.waiting()[0].attempts) == (before.reason, before.attempts)


class TestMistakes:
    async def test_a_held_text_that_cannot_be_published_is_parked_and_others_go_on(
        self, house: House, monkeypatch: pytest.MonkeyPatch
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
        async with FakeBackend() as backend, house.life(make_link(backend.url), rewrite_s=0.0) as delivery:
            await hold(house, delivery, 1, 2)
            house.audience.full = False
            await house.audience.hears("delivered", ulid(2))
            await house.audience.until(lambda: "parked" in house.audience.of(ulid(1)))
            speak(delivery, ulid(3))
            await house.audience.hears("delivered", ulid(3))
            await ticks(100)
            assert len(tries) == MAX_STRIKES
            waiting = delivery.waiting()
            assert [(one.part, one.parked) for one in waiting] == [(ONE, True)]
            assert waiting[0].reason == "internal error (RuntimeError): see the journal"
            assert house.audience.of(ulid(1)).count("parked") == 1
            await until(lambda: house.files() == [ulid(1)])
            monkeypatch.undo()
            delivery.retry([ONE])
            await house.audience.hears("delivered", ulid(1))
            await house.cleared()

    async def test_after_one_while_somebody_speaks_the_end_is_awaited(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Before it the backlog would send half of what is said, and take that for all."""
        failed = asyncio.Event()
        really_ask = BackendsInUse.ask

        async def ask(backends: BackendsInUse, utterance: Utterance, on_error: object) -> object:
            if not failed.is_set():
                failed.set()
                raise RuntimeError("a mistake")
            return await really_ask(backends, utterance, on_error)  # type: ignore[arg-type]

        monkeypatch.setattr(BackendsInUse, "ask", ask)
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            utterance = beginning(ulid(1))
            delivery.begin(utterance)
            utterance.append(SOUND)
            await failed.wait()
            await until(house.files)
            await ticks(100)
            told, waiting = house.audience.of(ulid(1)), delivery.waiting()
            utterance.append(SOUND)
            utterance.finish(1.0)  # whatever came of it: the end of the delivery waits for it
            assert told == []
            assert [(one.part, one.live) for one in waiting] == [(ONE, True)]
            await house.audience.hears("delivered", ulid(1))
            await house.cleared()
            assert house.audience.of(ulid(1)) == ["deferred", "late", "delivered"]
            assert "internal error (RuntimeError)" in next(
                one[2] for one in house.audience.said if one[0] == "deferred"
            )
            assert [text.text for text in house.audience.texts] == [echo(SOUND + SOUND)]
            assert len(backend.calls) == 1
