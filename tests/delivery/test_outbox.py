"""Texts that cannot be published as soon as they arrive."""

import asyncio
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from tests.backends.fake_backend import FakeBackend
from tests.delivery.test_delivery import DeliveryHarness, make_backend, speak
from tests.sound import noise, ulid
from tests.spool.absent_disk import AbsentDisk
from tests.waiting import until

SOUND = noise(1.234)


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


class TestHeldTexts:
    async def test_only_the_writing_is_tried_again(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.full = True
            speak(delivery, ulid(1))
            speak(delivery, ulid(2))
            await harness.audience.until(lambda: harness.audience.of(ulid(1)).count("not published") >= 3)
            assert "the disk is full" in delivery.waiting()[0].reason
            harness.audience.full = False
            for number in (1, 2):
                await harness.audience.hears("delivered", ulid(number))
            await harness.cleared()
            assert len(backend.calls) == 2

    async def test_when_one_is_written_all_are_tried_at_once(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=3600) as delivery:
            harness.audience.full = True
            speak(delivery, ulid(1))
            await harness.audience.hears("not published", ulid(1))
            harness.audience.full = False
            speak(delivery, ulid(2))
            await harness.audience.hears("delivered", ulid(2))
            await harness.audience.hears("delivered", ulid(1))
            assert len(backend.calls) == 2

    async def test_one_that_is_dropped_is_not_written(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=3600) as delivery:
            harness.audience.full = True
            speak(delivery)
            await harness.audience.until(lambda: delivery.spooled)
            delivery.drop(PartId(ulid(1)))
            await harness.cleared()
            assert delivery.waiting() == []


class TestDropWhilePublishing:
    @pytest.mark.parametrize("full", [False, True])
    async def test_it_goes_whatever_the_disk_does(self, harness: DeliveryHarness, full: bool) -> None:
        """A text that is being written cannot be called back; one that the disk refuses is not written again."""
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=0.0) as delivery:
            harness.audience.publishing = asyncio.Event()
            harness.audience.full = full
            utterance = speak(delivery)
            await harness.audience.hears("publishing", utterance.id)
            await until(harness.files)
            delivery.drop(utterance.part_id)
            assert harness.files()
            harness.audience.publishing.set()
            await harness.cleared()
            await harness.audience.until(lambda: not delivery.waiting())
        told = ["not published"] if full else ["text", "delivered"]
        assert harness.audience.of(utterance.id) == ["publishing", *told]


class TestMemory:
    async def test_there_is_an_end_to_what_is_held(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowpi.delivery.outbox.MAX_MEMORY_BYTES", 2 * len(SOUND))
        async with harness.life(make_backend("ws://127.0.0.1:1/ws"), pause_s=3600) as delivery:
            AbsentDisk(harness.directory)
            speak(delivery, ulid(1))
            assert not delivery.memory_full
            speak(delivery, ulid(2))
            assert delivery.memory_full
            await harness.audience.until(lambda: delivery.spooled == 2)
            assert delivery.memory_full
            for number in (1, 2):
                delivery.drop(PartId(ulid(number)))
            await until(lambda: not delivery.memory_full)

    async def test_a_text_whose_audio_is_on_the_disk_is_let_go_and_asked_for_again(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowpi.delivery.outbox.MAX_MEMORY_BYTES", 2 * len(SOUND))
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            audience = harness.audience
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
