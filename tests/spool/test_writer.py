"""A disk that does not write or delete what it should, and what is done until it does."""

import asyncio
import logging
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from flowpi.core.errors import SpoolError
from flowpi.delivery.delivery import DELIVERED, DROPPED
from flowpi.spool.folder import Folder
from tests.backends.fake_backend import FakeBackend
from tests.delivery.test_delivery import DeliveryHarness, make_backend, speak
from tests.sound import noise, ulid
from tests.spool.absent_disk import AbsentDisk
from tests.waiting import ticks, until

SOUND = noise(1.234)
NOBODY = "ws://127.0.0.1:1/ws"


@pytest.fixture
def harness(tmp_path: Path) -> DeliveryHarness:
    return DeliveryHarness(tmp_path / "spool")


class Stuck:
    """A file that cannot be deleted, because a directory with something in it replaces it."""

    def __init__(self, harness: DeliveryHarness, utterance_id: str) -> None:
        self._file = harness.directory / f"{utterance_id}.utt"
        self._aside = harness.directory.with_name("aside")
        self._file.rename(self._aside)
        self._file.mkdir()
        (self._file / "something").touch()

    def free(self) -> None:
        self._file.rename(self._aside.with_name("freed"))  # at once: emptied, it could be deleted

    def give_back(self) -> None:
        """Put the file back, but not during an attempt to delete it, which would find nothing for a moment."""
        self.free()
        self._aside.rename(self._file)


class Probes:
    """The number of probes of the disk."""

    def __init__(self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._probe = harness.spool.probe
        monkeypatch.setattr(harness.spool, "probe", self._counted)

    async def _counted(self) -> None:
        try:
            await self._probe()
        finally:
            self.count += 1

    async def some(self) -> None:
        before = self.count
        await until(lambda: self.count >= before + 3)


def failed(harness: DeliveryHarness) -> bool:
    return any(told[0] == "spool failed" for told in harness.audience.said)


class TestStop:
    async def test_what_is_lost_with_the_memory_is_told(
        self, harness: DeliveryHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with harness.life(make_backend(NOBODY), pause_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery)
            await harness.audience.until(lambda: failed(harness))
        assert harness.audience.of(ulid(1))[-1] == "lost"
        (line,) = [record.message for record in caplog.records if record.levelno == logging.ERROR][-1:]
        assert line.startswith(f"lost at the stop: {ulid(1)}, 1.2 s")
        disk.comes_back()

    async def test_what_the_disk_takes_at_last_is_not_lost(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend(NOBODY), pause_s=3600, rewrite_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery)
            await harness.audience.until(lambda: failed(harness))
            disk.comes_back()
        assert harness.files() == [ulid(1)]
        assert "lost" not in harness.audience.of(ulid(1))


class TestUndeleted:
    async def test_what_was_dropped_is_deleted_when_the_disk_does_it_and_never_sent(
        self, harness: DeliveryHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with harness.life(make_backend(NOBODY), pause_s=3600) as delivery:
            speak(delivery)
            await harness.audience.hears("spool works")
            await harness.audience.until(lambda: delivery.spooled)
            stuck = Stuck(harness, ulid(1))
            delivery.drop(PartId(ulid(1)))
            await harness.audience.until(lambda: failed(harness))
            assert [(one.reason, one.deleting) for one in delivery.waiting()] == [(DROPPED, True)]
            assert delivery.spooled == 0
            await ticks()
            delivery.add([PartId(ulid(1))])  # as if the spool was listed again
            assert delivery.spooled == 0
            told = len(harness.audience.said)
            stuck.free()
            await until(lambda: ("spool works",) in harness.audience.said[told:])
            await until(lambda: not harness.files())
            assert delivery.waiting() == []
        assert [record.levelname for record in caplog.records if "cannot be deleted" in record.message].count(
            "WARNING"
        ) == 1

    async def test_what_is_delivered_waits_for_no_text_and_the_fault_stands(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=3600) as delivery:
            harness.audience.publishing = asyncio.Event()
            speak(delivery, ulid(1))
            await harness.audience.hears("publishing", ulid(1))
            await harness.audience.hears("spool works")
            stuck = Stuck(harness, ulid(1))
            harness.audience.publishing.set()
            await harness.audience.until(lambda: failed(harness))
            assert [(one.reason, one.deleting) for one in delivery.waiting()] == [(DELIVERED, True)]
            assert delivery.spooled == 0
            told = len(harness.audience.said)
            speak(delivery, ulid(2))
            await harness.audience.hears("delivered", ulid(2))
            await until(lambda: not (harness.directory / f"{ulid(2)}.utt").exists())
            assert ("spool works",) not in harness.audience.said[told:]
            stuck.free()
            delivery.retry()
            await until(lambda: ("spool works",) in harness.audience.said[told:])
            await until(lambda: harness.files() == [])
            assert len(backend.calls) == 2

    async def test_the_stop_tries_once_more(self, harness: DeliveryHarness) -> None:
        async with harness.life(make_backend(NOBODY), pause_s=3600, rewrite_s=3600) as delivery:
            speak(delivery)
            await harness.audience.hears("spool works")
            stuck = Stuck(harness, ulid(1))
            delivery.drop(PartId(ulid(1)))
            await harness.audience.until(lambda: failed(harness))
            stuck.give_back()
        assert harness.files() == []

    def test_a_deletion_is_synced_though_it_was_done_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The sync after the deletion failed: only the second attempt makes it durable."""
        folder = Folder(tmp_path / "spool")
        folder.open()
        synced: list[int] = []
        monkeypatch.setattr("flowpi.spool.folder.sync_names", synced.append)
        folder.delete(PartId(ulid(1)), sync=True)
        folder.close()
        assert len(synced) == 1


class TestProbe:
    async def test_the_disk_is_probed_when_what_it_refused_was_dropped(
        self, harness: DeliveryHarness, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        async with harness.life(make_backend(NOBODY), pause_s=3600) as delivery:
            disk = AbsentDisk(harness.directory)
            speak(delivery)
            await harness.audience.until(lambda: failed(harness))
            delivery.drop(PartId(ulid(1)))
            with pytest.raises(SpoolError):
                await harness.spool.probe()
            await until(lambda: caplog.text.count("cannot be deleted") >= 3)
            assert ("spool works",) not in harness.audience.said
            disk.comes_back()
            await harness.audience.hears("spool works")
            assert [path.name for path in harness.directory.iterdir()] == []

    async def test_a_full_spool_is_not_called_well_because_nothing_waits(
        self, harness: DeliveryHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with harness.life(make_backend(NOBODY), pause_s=3600) as delivery:
            probes = Probes(harness, monkeypatch)
            harness.spool.limit(0)
            speak(delivery)
            await harness.audience.until(lambda: failed(harness))
            delivery.drop(PartId(ulid(1)))
            await probes.some()
            assert delivery.waiting() == []
            assert ("spool works",) not in harness.audience.said
            harness.spool.limit(1_000_000)
            await harness.audience.hears("spool works")

    async def test_the_texts_disk_is_probed_when_what_it_refused_was_dropped(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url)) as delivery:
            harness.audience.full = True
            speak(delivery)
            await harness.audience.until(lambda: delivery.spooled)
            delivery.drop(PartId(ulid(1)))
            await harness.audience.until(lambda: harness.audience.said.count(("probed",)) >= 2)
            assert ("texts work",) not in harness.audience.said
            harness.audience.full = False
            await harness.audience.hears("texts work")

    async def test_nothing_is_written_where_nothing_is_wrong(self, harness: DeliveryHarness) -> None:
        async with FakeBackend() as backend, harness.life(make_backend(backend.url), rewrite_s=0.0) as delivery:
            before = harness.directory.stat().st_mtime_ns
            await ticks(300)
            assert harness.directory.stat().st_mtime_ns == before
            speak(delivery)
            await harness.audience.hears("delivered", ulid(1))
            await ticks(300)
        assert ("probed",) not in harness.audience.said
