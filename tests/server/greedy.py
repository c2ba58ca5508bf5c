"""Clients that send a recording at full speed and commit, again and again, until they are killed.

python -m tests.server.greedy URL COUNT
"""

import asyncio
import sys

import websockets

from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText
from tests.speech import two_cities


async def dictate(url: str, pcm: bytes, *, pace_s: float = 0.0) -> float:
    """Dictate in appends of a second, one each `pace_s`; return the seconds from the commit to the final text."""
    loop = asyncio.get_running_loop()
    client = FlowClient()
    async with websockets.connect(
        f"{url}/api/v1/dash/ws", additional_headers=client.headers, open_timeout=None, ping_interval=None
    ) as link:

        async def flush() -> None:
            for frame in client.data_to_send():
                await link.send(frame)

        client.open()
        await flush()
        client.receive(await link.recv())
        began_s = loop.time()
        for number, at in enumerate(range(0, len(pcm) - 31_999, 32_000)):
            await asyncio.sleep(began_s + (number + 1) * pace_s - loop.time())
            client.append(pcm[at : at + 32_000])
            await flush()
        client.commit()
        await flush()
        committed_s = loop.time()
        async for frame in link:
            if any(isinstance(event, FinalText) for event in client.receive(frame)):
                return loop.time() - committed_s
    raise AssertionError("no final text")


async def again_and_again(url: str, pcm: bytes) -> None:
    while True:
        await dictate(url, pcm)


async def main(url: str, count: int) -> None:
    pcm = two_cities().part(0.0, 11.0)
    await asyncio.gather(*(again_and_again(url, pcm) for _ in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
