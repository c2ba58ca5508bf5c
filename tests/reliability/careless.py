"""`python -m tests.reliability.careless FILE OPTIONS`: a daemon that calls a text safe before it is written.

The audio is deleted first, and the line written half a second later: a kill in between loses the words. The tests of
kills must find that out, or they prove nothing.
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
