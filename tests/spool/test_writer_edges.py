"""Utterances that the disk refused, and when they are written after all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import SpoolError
from flowpi.spool.spool import Spool
from flowpi.spool.writer import SpoolWriter
from tests.sound import beginning, noise, spoken, ulid
from tests.spool.absent_disk import AbsentDisk
from tests.waiting import PATIENCE_S, ticks, until

SOUND = noise(0.5)


class Disk:
    """A spool, and the audience of its writer."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spool = Spool(directory, sync_s=0.1)
        self.failures = 0

    def spool_failed(self, error: SpoolError) -> None:
        self.failures += 1

    def spool_works(self) -> None:
        pass

    def lost(self, part: PartId, reason: str) -> None:
        pass

    def files(self) -> list[str]:
        return sorted(path.stem for path in self.directory.glob("*.utt"))

    @asynccontextmanager
    async def keeper(self, *, rewrite_s: float) -> AsyncIterator[SpoolWriter]:
        keeper = SpoolWriter(self.spool, self, rewrite_s=rewrite_s)
        try:
            yield keeper
        finally:
            await keeper.close()
            self.spool.close()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    disk = Disk(tmp_path / "spool")
    disk.spool.open()
    return disk


async def test_what_still_grows_is_written_when_it_has_ended(disk: Disk) -> None:
    """A rewrite begins a new file with the first byte: so it happens once, and not at each attempt."""
    async with disk.keeper(rewrite_s=0.0) as keeper:
        absent = AbsentDisk(disk.directory)
        utterance, part = beginning(ulid(1)), PartId(ulid(1))
        keeper.keep(utterance)
        utterance.append(SOUND)
        await until(lambda: keeper.in_memory(part))
        refused = utterance.durable
        assert refused is not None
        assert refused.result() is False
        absent.comes_back()
        utterance.append(SOUND)
        await ticks(200)
        other = spoken(SOUND, ulid(2))
        keeper.keep(other)
        await until(lambda: keeper.on_disk(other.part_id))
        await ticks(200)
        found = utterance.durable, disk.files(), disk.failures
        utterance.finish(0.0)  # even after a failed assertion, or closing the writer would wait for it
        assert found == (refused, [ulid(2)], 1)
        await until(lambda: keeper.on_disk(part))
        assert disk.files() == [ulid(1), ulid(2)]
        durable = utterance.durable
        assert durable is not None
        assert durable is not refused
        assert durable.result() is True
        kept = disk.spool.load(part)
        assert kept is not None
        assert kept.read(0, kept.length) == SOUND + SOUND


async def refuse(disk: Disk, keeper: SpoolWriter, *numbers: int) -> AbsentDisk:
    absent = AbsentDisk(disk.directory)
    for number in numbers:
        keeper.keep(spoken(SOUND, ulid(number)))
    await until(lambda: all(keeper.in_memory(PartId(ulid(number))) for number in numbers))
    return absent


async def test_when_one_is_taken_all_are_written_at_once(disk: Disk) -> None:
    async with disk.keeper(rewrite_s=3600) as keeper:
        absent = await refuse(disk, keeper, 1, 2, 3)
        assert keeper.memory_bytes == 3 * len(SOUND)
        absent.comes_back()
        keeper.keep(spoken(SOUND, ulid(4)))
        await until(lambda: len(disk.files()) == 4 and not keeper.memory_bytes)


async def test_while_nothing_is_taken_each_is_tried_in_its_turn(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cause lies in one utterance, the others do not wait for it."""
    async with disk.keeper(rewrite_s=0.05) as keeper:
        absent = await refuse(disk, keeper, 1, 2, 3)
        tried: list[str] = []
        really_keep = keeper.keep

        def keep(utterance: Utterance) -> None:
            tried.append(utterance.id)
            really_keep(utterance)

        monkeypatch.setattr(keeper, "keep", keep)
        await until(lambda: len(tried) >= 7)
        monkeypatch.undo()
        assert set(tried[:3]) == {ulid(1), ulid(2), ulid(3)}
        absent.comes_back()
        await until(lambda: len(disk.files()) == 3)


async def test_at_the_end_it_is_tried_once_more(disk: Disk) -> None:
    async with disk.keeper(rewrite_s=3600) as keeper:
        absent = await refuse(disk, keeper, 1, 2)
        absent.comes_back()
        async with asyncio.timeout(PATIENCE_S):
            await keeper.close()
        assert disk.files() == [ulid(1), ulid(2)]


@pytest.mark.parametrize("give_up", [False, True])
async def test_what_is_put_away_is_not_written_again(disk: Disk, give_up: bool) -> None:
    async with disk.keeper(rewrite_s=3600) as keeper:
        absent = await refuse(disk, keeper, 1, 2)
        keeper.remove(PartId(ulid(1)), give_up=give_up)
        await until(lambda: not keeper.in_memory(PartId(ulid(1))))
        absent.comes_back()
        keeper.keep(spoken(SOUND, ulid(3)))
        await until(lambda: not keeper.memory_bytes)
        assert disk.files() == [ulid(2), ulid(3)]
