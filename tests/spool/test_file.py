import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from flowpi.spool import file
from flowpi.spool.file_format import BLOCK_BYTES
from flowpi.spool.spool import Spool
from tests.sound import ID, beginning, noise
from tests.waiting import until

FILE = f"{ID}.utt"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    spool.open()
    yield spool
    spool.close()


def status(spool: Spool) -> os.stat_result:
    return (spool.directory / FILE).stat()


async def follow(spool: Spool, seconds: int, *, end: bool) -> list[os.stat_result]:
    """Record a number of seconds, each when the one before is in the file, then half a second.

    Returns:
        The status of the file after each.
    """
    utterance, found = beginning(), list[os.stat_result]()
    keeping = asyncio.create_task(spool.keep(utterance))
    for second in range(seconds):
        utterance.append(noise(1.0, seed=second))
        await until(lambda: (spool.directory / FILE).exists() and status(spool).st_size > utterance.length)
        found.append(status(spool))
    utterance.append(noise(0.5, seed=99))
    if end:
        utterance.finish(0.0)
    else:
        keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    return [*found, status(spool)]


def on_the_disk(found: os.stat_result) -> int:
    return found.st_blocks * 512


class TestBlocks:
    async def test_each_second_ends_with_a_block_and_the_last_where_it_ends(self, spool: Spool) -> None:
        *seconds, last = await follow(spool, 3, end=True)
        assert [one.st_size for one in seconds] == [8 * BLOCK_BYTES, 16 * BLOCK_BYTES, 24 * BLOCK_BYTES]
        assert last.st_size - seconds[-1].st_size < 16_100
        kept = spool.load(PartId(ID))
        assert kept is not None
        assert kept.read(0, kept.length) == b"".join(noise(1.0, seed=n) for n in range(3)) + noise(0.5, seed=99)
        assert (kept.partial, kept.damaged, kept.lost_frames) == (False, False, 0)

    @pytest.mark.parametrize("sync_s", [0.0, 0.1, 0.25])
    async def test_what_is_written_more_often_is_no_eighth_more(self, tmp_path: Path, sync_s: float) -> None:
        spool = Spool(tmp_path / "often", sync_s=sync_s)
        spool.open()
        utterance = beginning()
        keeping = asyncio.create_task(spool.keep(utterance))
        piece = round(max(0.1, sync_s) * 16_000) * 2
        for number in range(40):
            utterance.append(bytes(range(250)) * (piece // 250) + bytes(piece % 250))
            await until(lambda: (spool.directory / FILE).exists() and status(spool).st_size > utterance.length)
            assert utterance.length < status(spool).st_size < utterance.length * 9 / 8 + 200 + 23 * number
        utterance.finish(0.0)
        await keeping
        kept = spool.load(PartId(ID))
        assert kept is not None
        assert kept.length == 40 * piece
        assert not kept.partial
        spool.close()


class TestPlaces:
    @pytest.mark.parametrize("end", [True, False], ids=["ended", "cancelled"])
    async def test_they_are_found_ahead_and_given_back(self, spool: Spool, end: bool) -> None:
        *seconds, last = await follow(spool, 2, end=end)
        assert all(on_the_disk(one) >= file.AHEAD_BYTES for one in seconds)
        assert on_the_disk(last) <= last.st_size + 4 * BLOCK_BYTES

    async def test_more_are_found_when_they_are_used_up(self, spool: Spool) -> None:
        *seconds, last = await follow(spool, 40, end=True)
        assert [on_the_disk(one) // file.AHEAD_BYTES for one in seconds] == [1] * 32 + [2] * 8
        assert on_the_disk(last) <= last.st_size + 4 * BLOCK_BYTES
