"""Disks that refuse to write: `python -m tests.reliability.disk SCENARIO ARGUMENTS` prints the outcome.

Each scenario keeps utterances and publishes texts on a disk that fails, until it works again. With `LYING` as the last
argument, a write that the disk refused looks like a success in that process, which must be detected.
"""

import asyncio
import contextlib
import errno
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import SpoolError
from flowpi.host.preallocate import preallocate
from flowpi.publish.files import Transcripts
from flowpi.spool.spool import Spool
from tests.reliability.power_cut import NOON, Syncs, final
from tests.rig.disks import make_ext4, memory, mounted, sh, shut_down
from tests.sound import beginning, noise, spoken, ulid
from tests.waiting import until

LYING = "lying"
PAGE_BYTES = 4096
PIECE = 3200
PIECES = 8


class Outcome(msgspec.Struct):
    """What happened to the utterances and texts.

    `untrue`: reported as durable, and not there.
    `lost`: durable or in memory once, and not there in the end.
    `twice`: texts that are not in the file exactly once.
    `refused`: spoken, and refused by the disk.
    `ahead`: the share of a free disk that was allocated for what was not spoken yet.
    """

    tries: int = 0
    refused: int = 0
    untrue: int = 0
    lost: int = 0
    twice: int = 0
    messages: list[str] = []
    ahead: float = 0.0


class DiskHarness:
    """A spool and the transcripts on a disk, with what was promised and whether the promise was kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.outcome = Outcome()
        self.spool = Spool(directory / "spool", sync_s=0.1)
        self.transcripts = Transcripts(directory / "transcripts", 30)
        self._said: dict[PartId, bytes] = {}
        self._published: set[str] = set()

    def open(self) -> bool:
        with self._told():
            self.spool.open()
            return True
        return False

    def close(self) -> None:
        self.spool.close()
        self.transcripts.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        self.outcome.tries += 1
        try:
            yield
        except SpoolError as error:
            self.outcome.refused += 1
            if str(error) not in self.outcome.messages:
                self.outcome.messages.append(str(error).replace(str(self.directory), "DISK"))

    async def speak(self, utterance: Utterance, pcm: bytes) -> bool:
        """Speak `pcm` piece by piece, each when the one before is on disk or refused. Return whether it is durable."""
        self._said[utterance.part_id] = pcm
        keeping = asyncio.create_task(self.spool.keep(utterance))
        for at in range(0, len(pcm), PIECE):
            utterance.append(pcm[at : at + PIECE])
            await asyncio.sleep(0.001)
        utterance.finish(0.0)
        return await self._kept(utterance, keeping)

    async def keep_again(self, utterance: Utterance) -> bool:
        utterance.durable = None
        return await self._kept(utterance, asyncio.create_task(self.spool.keep(utterance)))

    async def _kept(self, utterance: Utterance, keeping: "asyncio.Task[None]") -> bool:
        with self._told():
            await keeping
        assert utterance.durable is not None
        durable = utterance.durable.result()
        if durable:
            self.outcome.untrue += not self._is_whole(utterance.part_id)
        return durable

    def _is_whole(self, part: PartId) -> bool:
        found = self.spool.load(part)
        return found is not None and not found.partial and found.read(0, found.length) == self._said[part]

    async def publish(self, utterance_id: str) -> bool:
        with self._told():
            await self.transcripts.append(final(utterance_id), NOON)
            self._published.add(utterance_id)
            return True
        return False

    def check(self) -> None:
        """Compare what is there with what was promised. Called when the disk works again."""
        self.outcome.lost += sum(not self._is_whole(part) for part in self._said)
        lines = Counter[str]()
        for path in (self.directory / "transcripts").glob("*.jsonl"):
            lines.update(json.loads(line)["id"] for line in path.read_bytes().splitlines() if line.strip(b"\0"))
        self.outcome.twice += sum(lines[utterance_id] != 1 for utterance_id in self._published)


async def full(directory: Path, step: int, inodes: bool) -> Outcome:
    """A disk that is full after a growing number of pages, or has no inode for a file; then it has space again."""
    total = Outcome()
    pages = (PIECE * PIECES) // PAGE_BYTES + 6
    for free in range(0, 4 if inodes else pages, step):
        with memory(directory / "disk", size="1m", inodes="16") as disk:
            harness = DiskHarness(disk)
            harness.open()
            before = spoken(noise(0.1, seed=99), ulid(1))
            await harness.speak(beginning(before.id), before.read(0, before.length))
            await harness.publish(ulid(1))
            ballast = disk / "ballast"
            ballast.mkdir()
            _fill(ballast, free, inodes)
            utterance = beginning(ulid(2))
            durable = await harness.speak(utterance, noise(0.1 * PIECES, seed=free))
            published = await harness.publish(ulid(2))
            if not durable:
                harness.outcome.untrue += await _short(harness, utterance)
            for file in ballast.iterdir():
                file.unlink()
            if not durable:
                await harness.keep_again(utterance)
            if not published:
                await harness.publish(ulid(2))
            await harness.speak(beginning(ulid(3)), noise(0.3, seed=3))
            await harness.publish(ulid(3))
            harness.check()
            harness.close()
            _add(total, harness.outcome)
    return total


async def _short(harness: DiskHarness, utterance: Utterance) -> bool:
    """Whether the file of a refused utterance holds anything else than a beginning that is marked as such."""
    kept = harness.spool.load(utterance.part_id)
    said = utterance.read(0, utterance.length)
    return kept is not None and not (kept.partial and said.startswith(kept.read(0, kept.length)))


def _fill(ballast: Path, free: int, inodes: bool) -> None:
    status = os.statvfs(ballast)
    if inodes:
        for number in range(status.f_favail - free):
            (ballast / str(number)).touch()
    else:
        (ballast / "all").write_bytes(bytes((status.f_bavail - free) * status.f_frsize))


async def room(directory: Path) -> Outcome:
    """A disk that is full of the kept audio of delivered utterances."""
    with memory(directory / "disk", size="1m") as disk:
        harness = DiskHarness(disk)
        harness.open()
        (disk / "spool" / "kept").mkdir()
        _fill(disk / "spool" / "kept", 3, inodes=False)
        assert await harness.speak(beginning(ulid(1)), noise(0.1 * PIECES))
        harness.check()
        harness.close()
        return harness.outcome


async def places(directory: Path, ahead: bool) -> Outcome:
    """A small ext4 on which blocks are allocated ahead, or an older one, which cannot do that."""
    image = directory / "card.img"
    make_ext4(image)
    if not ahead:
        sh("/sbin/mkfs.ext2", "-q", "-F", image)
    with mounted(image, directory / "card") as disk:
        with (disk / "probe").open("wb") as probe:
            reason = contextlib.nullcontext() if ahead else pytest.raises(OSError, match="not supported")
            with reason:
                preallocate(probe.fileno(), 0, PAGE_BYTES)
        harness = DiskHarness(disk)
        harness.open()
        free = _free_bytes(disk)
        utterance, pcm = beginning(), noise(0.1 * PIECES)
        harness._said[utterance.part_id] = pcm
        keeping = asyncio.create_task(harness.spool.keep(utterance))
        file = disk / "spool" / f"{utterance.part_id}.utt"
        utterance.append(pcm[:PIECE])
        await until(lambda: file.exists() and file.stat().st_size > PIECE)
        harness.outcome.ahead = (free - _free_bytes(disk)) / free
        utterance.append(pcm[PIECE:])
        utterance.finish(0.0)
        await keeping
        assert file.stat().st_blocks * 512 < len(pcm) + 4 * PAGE_BYTES
        harness.check()
        harness.close()
        return harness.outcome


def _free_bytes(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


async def read_only(directory: Path) -> Outcome:
    with memory(directory / "disk") as disk:
        sh("mount", "-o", "remount,ro", disk)
        harness = DiskHarness(disk)
        assert not harness.open()
        early = beginning(ulid(0))
        assert not await harness.speak(early, noise(0.2))
        sh("mount", "-o", "remount,rw", disk)
        assert harness.open()
        assert await harness.keep_again(early)
        assert await harness.speak(beginning(ulid(1)), noise(0.2))
        sh("mount", "-o", "remount,ro", disk)
        late = beginning(ulid(2))
        assert not await harness.speak(late, noise(0.3))
        assert not await harness.publish(ulid(2))
        sh("mount", "-o", "remount,rw", disk)
        assert await harness.keep_again(late)
        assert await harness.publish(ulid(2))
        harness.check()
        harness.close()
        return harness.outcome


async def torn_out(directory: Path, times: int) -> Outcome:
    """A real ext4 on which each request is an I/O error from some moment on; then the card is put in again."""
    make_ext4(directory / "card.img")
    total = Outcome()
    for number in range(times):
        harness = DiskHarness(directory / "card")
        with mounted(directory / "card.img", directory / "card"):
            harness.open()
            durable = await harness.speak(beginning(ulid(3 * number)), noise(0.2, seed=number))
            published = await harness.publish(ulid(3 * number))
            assert durable
            assert published
            utterance = beginning(ulid(3 * number + 1))
            keeping = asyncio.create_task(harness.speak(utterance, noise(0.5, seed=number)))
            await utterance.wait(number % 6 * PIECE)
            shut_down(directory / "card")
            durable = await keeping
            published = await harness.publish(utterance.id)
            late = beginning(ulid(3 * number + 2))
            assert not await harness.speak(late, noise(0.1))
            harness.spool._folder.close()  # as umount requires it: the card is pulled out
        with mounted(directory / "card.img", directory / "card"):
            assert harness.open()
            if durable:
                harness.outcome.lost += not harness._is_whole(utterance.part_id)
            assert await harness.keep_again(utterance)
            assert await harness.keep_again(late)
            assert await harness.publish(utterance.id)
            harness.check()
            harness.close()
            for path in (directory / "card" / "spool").glob("*.utt"):
                path.unlink()
        _add(total, harness.outcome)
    return total


async def minute(directory: Path) -> Outcome:
    """60.3 s of speech, each second synced before the next is spoken, for a tracer that counts."""
    syncs = Syncs()
    spool = Spool(directory / "spool")
    spool.open()
    utterance = beginning()
    keeping = asyncio.create_task(spool.keep(utterance))
    for tenth in range(1, 604):
        utterance.append(noise(0.1, seed=tenth))
        await until(partial(syncs.more_than, tenth // 10 - 1))
    utterance.finish(0.0)
    await keeping
    await spool.remove(utterance.part_id)
    spool.close()
    return Outcome(tries=1)


async def work(directory: Path, utterances: int) -> Outcome:
    """Keep and publish until each is durable, for a tracer that makes syncs fail."""
    harness = DiskHarness(directory)
    while not harness.open():
        pass
    for number in range(utterances):
        utterance = beginning(ulid(number))
        durable = await harness.speak(utterance, noise(0.25, seed=number))
        while not durable:
            durable = await harness.keep_again(utterance)
        while not await harness.publish(utterance.id):
            pass
    harness.check()
    harness.close()
    return harness.outcome


def _add(total: Outcome, one: Outcome) -> None:
    for name in ("tries", "refused", "untrue", "lost", "twice"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.messages = sorted({*total.messages, *one.messages})


def lie() -> None:
    real: Callable[[int, bytes], int] = os.write

    def write(handle: int, data: bytes) -> int:
        try:
            real(handle, data)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        return len(data)

    setattr(os, "write", write)  # noqa: B010


def sync_again() -> None:
    """Repeat a failed sync on the same file, which flowpi must not do."""
    for name in ("fsync", "fdatasync"):
        setattr(os, name, partial(_twice, getattr(os, name)))


def _twice(sync: Callable[[int], None], handle: int) -> None:
    try:
        sync(handle)
    except OSError:
        sync(handle)


def main(scenario: str, *arguments: str) -> None:
    if LYING in arguments:
        lie()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        match scenario:
            case "full" | "inodes":
                outcome = asyncio.run(full(directory, int(arguments[0]), scenario == "inodes"))
            case "room":
                outcome = asyncio.run(room(directory))
            case "places":
                with memory(directory / "memory"):
                    outcome = asyncio.run(places(directory / "memory", arguments[0] == "ahead"))
            case "read only":
                outcome = asyncio.run(read_only(directory))
            case "torn out":
                with memory(directory / "memory"):
                    outcome = asyncio.run(torn_out(directory / "memory", int(arguments[0])))
            case "minute":
                outcome = asyncio.run(minute(Path(arguments[0])))
            case "work":
                if "sync again" in arguments:
                    sync_again()
                outcome = asyncio.run(work(Path(arguments[0]), int(arguments[1])))
    sys.stdout.write(msgspec.json.encode(outcome).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
