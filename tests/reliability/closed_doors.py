"""A spool of which a part can no longer be read: `python -m tests.reliability.closed_doors PLACE WHAT`.

A user who is not root puts a file into quarantine in PLACE/spool, and an utterance that waits. Then `quarantine`,
`kept` or the `spool` is closed, or no `files` can be opened. The outcome is printed as JSON.
"""

import asyncio
import json
import logging
import os
import resource
import sys
from pathlib import Path

from flowpi.audio.utterance import PartId
from flowpi.core.errors import SpoolError
from flowpi.spool.spool import Spool
from tests.sound import noise, spoken, ulid

NOBODY = 65534
HOUR_S = 3600.0


async def main(place: Path, what: str) -> None:
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
    spool = Spool(place / "spool", sync_s=0.1, keep_days=1, max_bytes=60_000)
    spool.open()
    (spool.directory / f"{ulid(1)}.utt").write_bytes(b"rubbish")
    spool.load(PartId(ulid(1)))
    for n in (2, 3):
        await spool.keep(spoken(noise(0.5), ulid(n)))
    await spool.remove(PartId(ulid(2)), keep_audio=True)
    logging.getLogger("flowpi").addHandler(handler)
    closed = spool.directory / what if what != "spool" else spool.directory
    last, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if what == "files":
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    else:
        closed.chmod(0)
    for hour in range(3):
        spool.expire(4e9 + hour * HOUR_S, hour * HOUR_S)
    looked = list(warnings)
    refused = []
    for step in (spool.open, spool.entries):
        try:
            step()
        except SpoolError as error:
            refused.append(error.message)
    try:
        await spool.keep(spoken(noise(1.0), ulid(4)))
    except SpoolError as error:
        refused.append(error.message)
    if what == "files":
        resource.setrlimit(resource.RLIMIT_NOFILE, (last, most))
    else:
        closed.chmod(0o700)
    found = {
        "quarantined": spool.quarantined,
        "looked": looked,
        "refused": refused,
        "after": [entry.name for entry in spool.entries()],
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
