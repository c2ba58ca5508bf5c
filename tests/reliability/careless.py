"""`python -m tests.reliability.careless FILE OPTIONS`: a daemon that reports a text as safe before it is written.

It deletes the audio first and writes the line half a second later: a kill in between loses the text. The tests of kills
must detect that, or they prove nothing.
"""

import asyncio
import sys

from flowpi.publish.files import Transcripts
from flowpi.publish.messages import Final
from tests.rig import led

LATE_S = 0.5

append = Transcripts.append


async def append_later(self: Transcripts, final: Final, unix_s: float) -> None:
    async def wait_and_append() -> None:
        await asyncio.sleep(LATE_S)
        await append(self, final, unix_s)

    later.add(asyncio.create_task(wait_and_append()))


later: set[asyncio.Task[None]] = set()

if __name__ == "__main__":
    Transcripts.append = append_later  # type: ignore[method-assign]
    sys.exit(led.main())
