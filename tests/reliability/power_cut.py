"""Power cuts: `python -m tests.reliability.power_cut cuts SEED NUMBER WITHOUT` prints what they cost, as JSON.

A process records and delivers on an ext4 filesystem whose disk remembers every block. Then the disk is rebuilt as it
may be after a cut at each of `NUMBER` moments, mounted again, and delivered from as by the daemon after a start.
`WITHOUT` is `nothing`, or a call that does nothing in that process (`fdatasync`, `fsync`): that must cost something, or
the rig proves nothing. No real second of speech is awaited: that a sync happens every `SYNC_S` is proved by the bytes.

`wear SECONDS` prints what one utterance costs the disk.
"""

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from flowpi.audio.utterance import PartId, Utterance
from flowpi.dsp.format import BYTES_PER_S
from flowpi.publish.files import Transcripts
from flowpi.publish.messages import Final
from flowpi.spool.spool import Spool
from tests.rig.blocklog import MARK, WRITE, Replay, read_log
from tests.rig.disks import logged, memory, mounted
from tests.sound import beginning, noise, ulid
from tests.waiting import until

SYNC_S = 1.0
SYNC_BYTES = 32_000
NOON = 1_700_000_000.0
UTTERANCES = 16


def said(utterance_id: str) -> bytes:
    number = int(utterance_id[6:])
    return noise(0.5 + number % 6 * 1.3, seed=number)


def final(utterance_id: str) -> Final:
    return Final(utterance_id, 1, f"What was said in {utterance_id}.", "en", "house", "", 1.0, 0.2, False)


class Syncs:
    """Counts the calls of `os.fdatasync` in this process."""

    def __init__(self) -> None:
        self.done = 0
        self._real: Callable[[int], None] = os.fdatasync
        setattr(os, "fdatasync", self._sync)  # noqa: B010 (its type is wider)

    def _sync(self, handle: int) -> None:
        self._real(handle)
        self.done += 1

    def more_than(self, number: int) -> bool:
        return self.done > number


def marker(path: Path) -> Callable[..., None]:
    """Return `mark(...)`, which writes its arguments into the log of the disk."""
    marks = os.open(path, os.O_WRONLY)

    def mark(*words: object) -> None:
        os.write(marks, " ".join(map(str, words)).encode())

    return mark


async def write(directory: Path, mark_file: Path) -> None:
    """Record, and deliver two of three; the marks record what was promised when."""
    syncs = Syncs()
    mark = marker(mark_file)
    spool = Spool(directory / "spool", sync_s=SYNC_S)
    transcripts = Transcripts(directory / "transcripts", 30)
    spool.open()
    transcripts.open()
    for number in range(UTTERANCES):
        utterance = beginning(ulid(number))
        keeping = asyncio.create_task(spool.keep(utterance))
        pcm = said(utterance.id)
        for at in range(0, len(pcm), SYNC_BYTES):
            before = syncs.done
            mark("said", utterance.id, at + len(pcm[at : at + SYNC_BYTES]))
            utterance.append(pcm[at : at + SYNC_BYTES])
            if len(pcm) - at > SYNC_BYTES:
                await until(partial(syncs.more_than, before))
        utterance.finish(0.0)
        await keeping
        mark("recorded", utterance.id)
        if number % 3:
            await transcripts.append(final(utterance.id), NOON)
            mark("delivered", utterance.id)
            await spool.remove(utterance.part_id, cancelled=False)
    spool.close()
    transcripts.close()


class Promised(msgspec.Struct):
    """What had been promised by the moment of a cut."""

    said: dict[str, int]
    recorded: set[str]
    delivered: set[str]


class Cost(msgspec.Struct):
    """What a cut has cost.

    `lost`: recorded, and neither kept nor published.
    `short`: being recorded, and more than its last second is missing.
    `wrong`: read back, and not what was said.
    `twice`: published twice or never.
    `refused`: the daemon does not start.
    """

    cuts: int = 0
    lost: int = 0
    short: int = 0
    wrong: int = 0
    twice: int = 0
    refused: int = 0


async def start_again(directory: Path, promised: Promised, cost: Cost) -> None:
    """Do what a daemon does when it starts on this disk, until everything is delivered."""
    spool = Spool(directory / "spool", sync_s=SYNC_S)
    transcripts = Transcripts(directory / "transcripts", 30)
    try:
        kept = spool.open()
        transcripts.open()
        done = {utterance_id for utterance_id, _ in transcripts.ids()}
        cost.lost += len(promised.delivered - done)
        loaded: dict[str, Utterance] = {}
        for part in kept:
            if part.utterance not in done and (utterance := spool.load(part)) is not None:
                loaded[part.utterance] = utterance
        for utterance_id, length in promised.said.items():
            if utterance_id in done:
                continue
            found = loaded.get(utterance_id)
            pcm = found.read(0, found.length) if found else b""
            whole = pcm == said(utterance_id)
            cost.lost += utterance_id in promised.recorded and (not whole or found is None or found.partial)
            cost.short += len(pcm) < length - SYNC_BYTES
            cost.wrong += not said(utterance_id).startswith(pcm) or (found is not None and found.partial is whole)
        for utterance_id in loaded:
            await transcripts.append(final(utterance_id), NOON)
            await spool.remove(PartId(utterance_id))
        published = Counter(json.loads(line)["id"] for line in _lines(directory / "transcripts"))
        cost.twice += any(count != 1 for count in published.values()) or set(published) != done | set(loaded)
    finally:
        spool.close()
        transcripts.close()


def _lines(directory: Path) -> list[bytes]:
    found = []
    for path in directory.iterdir():
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):  # a line that the cut has torn
                json.loads(line)
                found.append(line)
    return found


def cuts(seed: int, number: int, without: str) -> Cost:
    chance = random.Random(seed)
    cost = Cost()
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory)) as work:
        with logged(work) as (disk, mark):
            _run("write", disk, mark, without)
        log = read_log(work / "log")
        marks = [at for at, record in enumerate(log) if record.kind == MARK]
        # Moments just after a promise, and any others.
        moments = [at + 1 for at in chance.choices(marks, k=number // 2)]
        moments += [chance.randrange(marks[0], marks[-1] + 2) for _ in range(number - len(moments))]
        replay = Replay((work / "start.img").read_bytes(), log)
        for moment in sorted(moments):
            promised = Promised({}, set(), set())
            for record in log[:moment]:
                if record.kind == MARK:
                    what, utterance_id, *length = record.data.decode().split()
                    if what == "said":
                        promised.said[utterance_id] = int(length[0])
                    else:
                        (promised.recorded if what == "recorded" else promised.delivered).add(utterance_id)
            (work / "cut.img").write_bytes(replay.disk_at(moment, chance))
            cost.cuts += 1
            try:
                with mounted(work / "cut.img", work / "after") as after:
                    asyncio.run(start_again(after, promised, cost))
            except Exception as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                cost.refused += 1
    return cost


async def speak(directory: Path, seconds: float, marks: Path) -> None:
    """Keep one utterance, spoken in tenths of a second, and remove it as after its text."""
    syncs = Syncs()
    mark = marker(marks)
    spool = Spool(directory / "spool")
    spool.open()
    os.sync()
    mark("begin")
    utterance = beginning()
    keeping = asyncio.create_task(spool.keep(utterance))
    for tenth in range(1, round(seconds * 10) + 1):
        utterance.append(noise(0.1, seed=tenth))
        await until(partial(syncs.more_than, tenth // 10 - 1))
    utterance.finish(0.0)
    await keeping
    mark("end")
    await spool.remove(utterance.part_id)
    spool.close()


def wear(seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory)) as work:
        with logged(work) as (disk, mark):
            _run("speak", disk, seconds, mark)
        log = read_log(work / "log")
    begin, end = (at for at, record in enumerate(log) if record.kind == MARK)
    audio = seconds * BYTES_PER_S
    written = sum(len(record.data) for record in log[begin:end] if record.kind == WRITE)
    return {"audio_bytes": audio, "disk_bytes": written, "times_the_audio": round(written / audio, 2)}


def _run(*arguments: object) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-m", __spec__.name, *map(str, arguments)], check=True)


def main(command: str, *arguments: str) -> None:
    match command:
        case "write":
            if arguments[2] != "nothing":
                setattr(os, arguments[2], lambda handle: None)
            asyncio.run(write(Path(arguments[0]), Path(arguments[1])))
        case "speak":
            asyncio.run(speak(Path(arguments[0]), float(arguments[1]), Path(arguments[2])))
        case "cuts":
            sys.stdout.write(msgspec.json.encode(cuts(int(arguments[0]), int(arguments[1]), arguments[2])).decode())
        case "wear":
            json.dump(wear(float(arguments[0])), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
