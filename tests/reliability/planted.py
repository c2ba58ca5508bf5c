"""A spool in which somebody plants files: `python -m tests.reliability.planted PLACE NUMBER [follow]`.

Nothing may reach PLACE/secret. It prints how many utterances it kept and found again all the same. With `follow` it
follows a link in the end, as a test of the observer.
"""

import asyncio
import contextlib
import json
import os
import random
import sys
from pathlib import Path

from flowpi.audio.utterance import PartId
from flowpi.core.errors import FlowpiError
from flowpi.spool.spool import Spool
from tests.sound import noise, spoken, ulid


def plant(name: str, home: Path, secret: Path, chance: random.Random) -> None:
    path = home / name
    with contextlib.suppress(FileExistsError):
        match chance.randrange(6):
            case 0:
                path.symlink_to(secret / "file")
            case 1:
                path.symlink_to(secret)
            case 2:
                os.mkfifo(path)
            case 3:
                path.mkdir()
            case 4:
                path.symlink_to(path)
            case _:
                path.symlink_to(secret / "not there")


async def main(place: Path, number: int, follow: bool) -> None:
    chance = random.Random(5)
    home, secret = place / "spool", place / "secret"
    spool = Spool(home, sync_s=0.1)
    spool.open()
    for folder in ("quarantine", "kept"):
        (home / folder).symlink_to(secret)
    written = kept = 0
    pcm = noise(0.1)
    for n in range(number):
        part = PartId(ulid(n))
        plant(f"{part}.utt", home, secret, chance)
        if n % 3 == 0:
            plant(f"{part}.utt.new", home, secret, chance)
        if n == number // 2:
            for folder in ("quarantine", "kept"):
                if (home / folder).is_symlink():
                    (home / folder).unlink()
        with contextlib.suppress(FlowpiError):
            spool.load(part)
        with contextlib.suppress(FlowpiError):
            spool.export(str(part), place / f"{n}.wav")
        with contextlib.suppress(FlowpiError):
            await spool.keep(spoken(pcm, ulid(n)))
            written += 1
            found = spool.load(part)
            kept += found is not None and found.read(0, found.length) == pcm
        with contextlib.suppress(FlowpiError):
            await spool.remove(part, keep_audio=n % 2 == 0)
    spool.entries()
    spool.expire(2e9, 1e9)
    spool.close()
    if follow:
        (home / f"{ulid(number)}.utt").symlink_to(secret / "file")
        (home / f"{ulid(number)}.utt").read_bytes()
    json.dump([written, kept], sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), "follow" in sys.argv[3:]))
