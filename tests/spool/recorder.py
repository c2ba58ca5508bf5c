"""Processes that record into a spool and are killed: `python -m tests.spool.recorder SPOOL KILLS`.

It prints the id of each utterance that the spool reported as durable, once the process that recorded it has been
killed. The ids count up over all processes, and the sound of each is `said(id)`.
"""

import asyncio
import os
import random
import select
import signal
import sys
from pathlib import Path

from flowpi.spool.spool import Spool
from tests.sound import beginning, noise, ulid


def said(utterance_id: str) -> bytes:
    number = int(utterance_id[6:])
    return noise(0.05 + number % 7 * 0.1, seed=number)


async def record(directory: Path, first: int, tell: int) -> None:
    spool = Spool(directory, sync_s=0.1)
    spool.open()
    for number in range(first, first + 10_000):
        utterance = beginning(ulid(number))
        keeping = asyncio.create_task(spool.keep(utterance))
        pcm = said(utterance.id)
        for at in range(0, len(pcm), 3200):
            await asyncio.sleep(0)
            utterance.append(pcm[at : at + 3200])
        utterance.finish(0.0)
        await keeping
        assert utterance.durable is not None
        assert utterance.durable.result()
        os.write(tell, utterance.id.encode() + b"\n")


def main(directory: Path, kills: int) -> None:
    chance = random.Random(7)
    for process in range(kills):
        hear, tell = os.pipe()
        child = os.fork()
        if child == 0:
            asyncio.run(record(directory, process * 10_000, tell))
            os._exit(0)
        os.close(tell)
        select.select([hear], [], [])  # it is recording: kill it at any moment from now on
        select.select([], [], [], chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open(hear, "rb") as announced:
            sys.stdout.write(announced.read().decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
