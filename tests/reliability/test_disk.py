import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import PartId
from flowpi.core.errors import SpoolError
from flowpi.dsp.format import BYTES_PER_S
from flowpi.spool.spool import Spool
from tests.reliability import disk
from tests.rig.disks import alone
from tests.rig.trace import count, synced_again, traced
from tests.sound import noise, spoken, ulid

Measured = Callable[..., None]
Times = Callable[[int, int], int]

SYNCS = "fsync,fdatasync"


def outcome(*arguments: object) -> dict[str, Any]:
    """Run a scenario and return its outcome."""
    found: dict[str, Any] = alone(disk.__name__, *arguments)
    assert found["tries"]
    return found


def kept_all(found: dict[str, Any]) -> bool:
    return (found["untrue"], found["lost"], found["twice"]) == (0, 0, 0)


@pytest.mark.promise("P6")
@pytest.mark.parametrize("scenario", ["full", "inodes"])
def test_a_full_disk_is_told_and_heals(scenario: str, measured: Measured) -> None:
    """The disk is full after each number of pages that a recording and its text need, or has no inode left."""
    found = outcome(scenario, 1)
    measured(disk=scenario, **{name: found[name] for name in ("tries", "refused", "untrue", "lost", "twice")})
    assert kept_all(found)
    assert found["refused"]
    assert all("No space left on device" in message for message in found["messages"])


@pytest.mark.promise("P6", "P7")
def test_a_disk_that_lies_would_be_found_out() -> None:
    assert not kept_all(outcome("full", 3, disk.LYING))


@pytest.mark.promise("P6")
def test_a_disk_full_of_what_is_delivered_takes_what_is_not() -> None:
    found = outcome("room")
    assert kept_all(found)
    assert not found["refused"]


@pytest.mark.promise("P6")
def test_of_a_small_disk_a_small_share_is_taken_ahead() -> None:
    found = outcome("places", "ahead")
    assert kept_all(found)
    assert 0.02 < found["ahead"] < 0.04


def test_a_disk_on_which_nothing_can_be_taken_ahead_will_do() -> None:
    found = outcome("places", "as of old")
    assert kept_all(found)
    assert not found["refused"]
    assert found["ahead"] < 0.002


@pytest.mark.promise("P6")
def test_a_read_only_disk_is_told_and_heals() -> None:
    found = outcome("read only")
    assert kept_all(found)
    assert found["refused"] == 4
    assert all("Read-only file system" in words or "not open" in words for words in found["messages"])


@pytest.mark.promise("P7")
def test_a_card_that_is_torn_out_and_put_in_again(times: Times, measured: Measured) -> None:
    found = outcome("torn out", times(6, 60))
    measured(disk="torn out", **{name: found[name] for name in ("tries", "refused", "untrue", "lost", "twice")})
    assert kept_all(found)
    assert found["refused"]


class TestSyncsThatFail:
    @pytest.mark.promise("P7")
    @pytest.mark.parametrize("when", ["5+10", "1..20"], ids=["one in ten", "all for a while"])
    def test_none_is_tried_again_on_the_same_file(
        self, when: str, tmp_path: Path, times: Times, measured: Measured
    ) -> None:
        number = times(20, 200)
        output, fault = list[str](), f"error=EIO:when={when}"
        calls = traced(
            SYNCS, disk.__name__, "work", tmp_path, number, log=tmp_path / "log", inject=fault, output=output
        )
        found = json.loads(output[0])
        failed = sum(call.result < 0 for call in calls if call.name != "close")
        again = synced_again(calls)
        told = {name: found[name] for name in ("untrue", "lost", "twice")}
        measured(utterances=number, failed_syncs=failed, tried_again_on_the_same_file=again, **told)
        assert failed >= 10
        assert again == 0
        assert kept_all(found)

    @pytest.mark.promise("P7")
    def test_if_one_were_it_would_be_seen(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        inject = "error=EIO:when=5+10"
        calls = traced(SYNCS, disk.__name__, "work", tmp_path, 10, "sync again", log=log, inject=inject)
        assert synced_again(calls)


@pytest.mark.promise("P39")
def test_what_a_minute_of_speech_asks_of_the_disk(tmp_path: Path, measured: Measured) -> None:
    """A recording of 60.3 s costs a sync for each second that began, and one of the directory; its delivery none."""
    calls = traced(f"write,pwrite64,{SYNCS}", disk.__name__, "minute", tmp_path, log=tmp_path / "log")
    audio = round(60.3 * BYTES_PER_S)
    asked = count(calls, tmp_path / "spool")
    written = sum(call.result for call in calls if "write" in call.name and call.path.startswith(str(tmp_path)))
    measured(seconds=60.3, writes=asked["write"], syncs=asked["fdatasync"], directory_syncs=asked["fsync"],
             bytes_written_by_audio=round(written / audio, 4))  # fmt: skip
    assert (asked["write"], asked["fdatasync"], asked["fsync"]) == (61, 61, 1)
    assert audio < written <= 1.03 * audio


class TestAtRest:
    @pytest.mark.promise("P18")
    async def test_after_delivery_the_audio_is_gone_and_before_it_nobody_else_can_read_it(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool")
        spool.open()
        pcm = noise(0.3)
        await spool.keep(spoken(pcm))
        (file,) = spool.directory.iterdir()
        assert file.stat().st_mode & 0o777 == 0o600
        assert spool.directory.stat().st_mode & 0o777 == 0o700
        await spool.remove(spoken(pcm).part_id)
        assert list(spool.directory.iterdir()) == []
        spool.close()

    @pytest.mark.promise("P18")
    async def test_the_size_holds_at_any_load(self, tmp_path: Path, times: Times, measured: Measured) -> None:
        """Utterances are recorded, delivered with their audio kept, damaged and dropped at random, several at once."""
        limit = 200_000
        chance = random.Random(3)
        spool = Spool(tmp_path / "spool", sync_s=0.1, max_bytes=limit)
        spool.open()
        waiting: list[PartId] = []
        refused, most, number = 0, 0, times(200, 2000)
        for first in range(0, number, 4):
            some = [spoken(noise(chance.random(), seed=n), ulid(n)) for n in range(first, first + 4)]
            told = await asyncio.gather(*(spool.keep(one) for one in some), return_exceptions=True)
            for one, error in zip(some, told, strict=True):
                assert error is None or isinstance(error, SpoolError)
                refused += error is not None
                if error is None:
                    waiting.append(one.part_id)
            most = max(most, sum(path.stat().st_size for path in spool.directory.rglob("*") if path.is_file()))
            assert most <= limit
            while waiting and chance.random() < 0.75:
                part = waiting.pop(chance.randrange(len(waiting)))
                fate = chance.random()
                if fate < 0.2:
                    (spool.directory / f"{part}.utt").write_bytes(b"damaged")
                    assert spool.load(part) is None
                else:
                    with contextlib.suppress(SpoolError):  # there is no room for the audio
                        await spool.remove(part, keep_audio=fate < 0.7)
                    assert spool.load(part) is None
        assert refused
        assert all(spool.load(part) is not None for part in waiting)  # what waits is never deleted
        spool.close()
        measured(utterances=number, refused=refused, limit_bytes=limit, most_bytes=most)
