"""Power cuts while a sink catches up: `python -m tests.reliability.sink_power_cut cuts SEED NUMBER HOW` prints what
they cost, as JSON.

A process writes transcripts and feeds a sink from them, on an ext4 filesystem whose disk remembers every block; what
the sink has received is remembered elsewhere, as by a broker. Then the disk is rebuilt as it may be after a cut at each
of `NUMBER` moments, and a second sink goes on from what is found there. `HOW` is `careful`, or a way that must lose
texts, or the rig proves nothing: `early`, the position is written before the sink has the text; `fsync`, no sync
happens.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from flowpi.config.schema import Config
from flowpi.core.errors import SinkRefusedError
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final
from flowpi.publish.publisher import Publisher
from flowpi.publish.sinks import SinkKind
from tests.reliability.power_cut import NOON, final, marker
from tests.rig.blocklog import MARK, Replay, read_log
from tests.rig.disks import logged, memory, mounted
from tests.sound import ulid
from tests.waiting import until

TEXTS = 60
A_DAY = 15
"""The texts of one day file."""

REFUSED = 7
"""Every so many texts, one is refused for good."""


class Destination:
    """A durable sink that survives the power cut. `early`: it has a text only when the next one comes."""

    filters = ()
    durable = True

    def __init__(self, *, early: bool = False) -> None:
        self.got: list[str] = []
        self._early = early
        self._waiting: list[str] = []

    async def open(self) -> None:
        pass

    def receive(self, message: Message, retained: bool) -> None:
        pass

    async def write(self, final: Final) -> None:
        await asyncio.sleep(0)
        if number_of(final.id) % REFUSED == 0:
            raise SinkRefusedError("too long")
        self._waiting.append(final.id)
        while len(self._waiting) > self._early:
            self.receive_one(self._waiting.pop(0))

    def receive_one(self, text: str) -> None:
        self.got.append(text)

    async def close(self) -> None:
        pass


class Marking(Destination):
    """The sink of the process whose power fails: the log of the disk remembers what it had received by then."""

    def __init__(self, marks: Path, *, early: bool) -> None:
        super().__init__(early=early)
        self._mark = marker(marks)

    def receive_one(self, text: str) -> None:
        super().receive_one(text)
        self._mark("received", text)


def number_of(text: str) -> int:
    return int(text[6:])


def publisher(directory: Path, transcripts: Transcripts, sink: Destination) -> Publisher:
    kinds = {"sink": SinkKind(lambda _: {"sink": True}, lambda _, command: sink, lambda _: True)}
    ignore = lambda *words: None  # noqa: E731
    return Publisher(Config(), Hub(), transcripts, directory / "sinks", fault=ignore, clear=ignore, kinds=kinds)


async def write(directory: Path, mark_file: Path, how: str) -> None:
    """Append texts while a sink is fed; the marks record what was promised when, and what the sink had."""
    mark = marker(mark_file)
    transcripts = Transcripts(directory / "transcripts", 30)
    transcripts.open()
    sink = Marking(mark_file, early=how == "early")
    running = publisher(directory, transcripts, sink)
    await running.open()
    running.start()
    await until((directory / "sinks" / "sink.position").exists)
    mark("begun", "-")
    for number in range(1, TEXTS + 1):
        text = final(ulid(number))
        await transcripts.append(text, NOON + number // A_DAY * 86_400)
        mark("appended", text.id)
        if number % 3 == 0:  # it is close behind, or has several to catch up
            expected = number - number // REFUSED - (how == "early")
            await until(lambda expected=expected: len(sink.got) >= expected)  # type: ignore[misc]
    await running.close()
    transcripts.close()


class Cost(msgspec.Struct):
    """What the cuts have cost.

    `lost`: appended, and neither received by the sink before or after the cut, nor parked.
    `again`: received before the cut and after it, more than the one that was on its way.
    `disordered`: received after the cut in another order than that of the transcripts.
    `refused`: nothing could be read, or the sink was not fed.
    """

    cuts: int = 0
    lost: int = 0
    again: int = 0
    disordered: int = 0
    refused: int = 0
    parked: int = 0
    """No cost: how many texts were parked when all was caught up."""


async def go_on(directory: Path, appended: set[str], received: set[str], cost: Cost) -> None:
    """Feed a second sink from what the cut has left, until it has all."""
    transcripts = Transcripts(directory / "transcripts", 30)
    transcripts.open()
    sink = Destination()
    running = publisher(directory, transcripts, sink)
    try:
        await running.open()
        running.start()
        async with asyncio.timeout(30):
            while True:
                (now,) = await running.sinks()
                if now.state == "open" and now.waiting == 0:
                    break
                await asyncio.sleep(0)
        kept = {text for text, _ in transcripts.ids()}
        parked = {one.id for one in running.parked(["sink"])}
        cost.lost += len((appended | kept) - received - set(sink.got) - parked)
        cost.again += max(0, len(received & set(sink.got)) - 1) + (len(sink.got) - len(set(sink.got)))
        cost.disordered += sink.got != sorted(sink.got)
        cost.parked += len(parked)
    finally:
        await running.close()
        transcripts.close()


def cuts(seed: int, number: int, how: str) -> Cost:
    chance = random.Random(seed)
    cost = Cost()
    with tempfile.TemporaryDirectory() as directory, memory(Path(directory)) as work:
        with logged(work) as (disk, mark):
            command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "write", str(disk), str(mark), how]
            subprocess.run(command, check=True)
        log = read_log(work / "log")
        marks = [at for at, record in enumerate(log) if record.kind == MARK]
        # Moments just after a promise, and any others.
        moments = [at + 1 for at in chance.choices(marks, k=number // 2)]
        moments += [chance.randrange(marks[0] + 1, marks[-1] + 2) for _ in range(number - len(moments))]
        replay = Replay((work / "start.img").read_bytes(), log)
        for moment in sorted(moments):
            words = [record.data.decode().split() for record in log[:moment] if record.kind == MARK]
            appended = {text for what, text in words if what == "appended"}
            received = {text for what, text in words if what == "received"}
            (work / "cut.img").write_bytes(replay.disk_at(moment, chance))
            cost.cuts += 1
            try:
                with mounted(work / "cut.img", work / "after") as after:
                    asyncio.run(go_on(after, appended, received, cost))
            except Exception as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                cost.refused += 1
    return cost


def main(command: str, *arguments: str) -> None:
    match command:
        case "write":
            if arguments[2] == "fsync":
                setattr(os, "fsync", lambda handle: None)  # noqa: B010 (its type is wider)
            asyncio.run(write(Path(arguments[0]), Path(arguments[1]), arguments[2]))
        case "cuts":
            sys.stdout.write(msgspec.json.encode(cuts(int(arguments[0]), int(arguments[1]), arguments[2])).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
