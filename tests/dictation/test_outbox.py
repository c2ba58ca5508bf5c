"""Texts that cannot go out when they come."""

import asyncio
from pathlib import Path

import pytest

from flowpi.dictation.utterance import PartId
from tests.dictation.backend import FakeBackend
from tests.dictation.sound import noise, ulid
from tests.dictation.test_delivery import House, make_link, speak
from tests.waiting import until

SOUND = noise(1.234)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "spool")


class TestHeldTexts:
    async def test_only_the_writing_is_tried_again(self, house: House) -> None:
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            house.audience.full = True
            speak(delivery, ulid(1))
            speak(delivery, ulid(2))
            await house.audience.until(lambda: house.audience.of(ulid(1)).count("not published") >= 3)
            assert "the disk is full" in delivery.waiting()[0].reason
            house.audience.full = False
            for number in (1, 2):
                await house.audience.hears("delivered", ulid(number))
            await house.cleared()
            assert len(backend.calls) == 2

    async def test_when_one_is_written_all_are_tried_at_once(self, house: House) -> None:
        async with FakeBackend() as backend, house.life(make_link(backend.url), rewrite_s=3600) as delivery:
            house.audience.full = True
            speak(delivery, ulid(1))
            await house.audience.hears("not published", ulid(1))
            house.audience.full = False
            speak(delivery, ulid(2))
            await house.audience.hears("delivered", ulid(2))
            await house.audience.hears("delivered", ulid(1))
            assert len(backend.calls) == 2

    async def test_one_that_is_dropped_is_not_written(self, house: House) -> None:
        async with FakeBackend() as backend, house.life(make_link(backend.url), rewrite_s=3600) as delivery:
            house.audience.full = True
            speak(delivery)
            await house.audience.until(lambda: delivery.spooled)
            delivery.drop(PartId(ulid(1)))
            await house.cleared()
            assert delivery.waiting() == []


class TestDropWhilePublishing:
    @pytest.mark.parametrize("full", [False, True])
    async def test_it_goes_whatever_the_disk_does(self, house: House, full: bool) -> None:
        """What is being written cannot be called back; what the disk does not take is not written again."""
        async with FakeBackend() as backend, house.life(make_link(backend.url), rewrite_s=0.0) as delivery:
            house.audience.publishing = asyncio.Event()
            house.audience.full = full
            utterance = speak(delivery)
            await house.audience.hears("publishing", utterance.id)
            await until(house.files)
            delivery.drop(utterance.part_id)
            assert house.files()
            house.audience.publishing.set()
            await house.cleared()
            await house.audience.until(lambda: not delivery.waiting())
        told = ["not published"] if full else ["text", "delivered"]
        assert house.audience.of(utterance.id) == ["publishing", *told]


class TestMemory:
    async def test_there_is_an_end_to_what_is_held(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flowpi.dictation.outbox.MAX_MEMORY_BYTES", 2 * len(SOUND))
        async with house.life(make_link("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            house.directory.rename(house.directory.with_name("away"))
            house.directory.touch()
            speak(delivery, ulid(1))
            assert not delivery.memory_full
            speak(delivery, ulid(2))
            assert delivery.memory_full
            await house.audience.until(lambda: delivery.spooled == 2)
            assert delivery.memory_full
            for number in (1, 2):
                delivery.drop(PartId(ulid(number)))
            await until(lambda: not delivery.memory_full)

    async def test_a_text_whose_audio_is_on_the_disk_is_let_go_and_asked_for_again(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowpi.dictation.outbox.MAX_MEMORY_BYTES", 2 * len(SOUND))
        async with FakeBackend() as backend, house.life(make_link(backend.url)) as delivery:
            audience = house.audience
            audience.publishing = asyncio.Event()
            audience.full = True
            for number in (1, 2, 3):
                speak(delivery, ulid(number))
                await audience.hears("publishing", ulid(number))
            await audience.until(lambda: audience.said.count(("spool works",)) == 3)
            assert not delivery.memory_full
            audience.publishing.set()
            await audience.until(lambda: delivery.spooled == 3)
            assert delivery.memory_full
            assert len(backend.calls) == 3
            audience.full = False
            for number in (1, 2, 3):
                await audience.hears("delivered", ulid(number))
            assert not delivery.memory_full
            assert len(backend.calls) == 4
