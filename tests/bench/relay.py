"""A floor: the shortest Python program that answers a button with a text. It keeps nothing and checks nothing.

    python tests/bench/relay.py DEVICE URL SOCKET

Run it as a script, so that it imports only what it uses. It implements as much of the daemon's socket as is needed.
"""

import asyncio
import json
import sys

import alsaaudio
import msgpack
from websockets.asyncio.client import connect

PACKET_BYTES = 3200
PREROLL_BYTES = 9600


class Relay:
    def __init__(self, device: str, url: str) -> None:
        self.url = url
        self.pcm = alsaaudio.PCM(
            alsaaudio.PCM_CAPTURE, alsaaudio.PCM_NONBLOCK, rate=16_000, channels=1, format=alsaaudio.PCM_FORMAT_S16_LE,
            periodsize=320, periods=75, device=device,
        )  # fmt: skip
        self.heard = b""
        self.subscribers: list[asyncio.StreamWriter] = []
        self.stopped = asyncio.Event()

    def read(self) -> None:
        while (read := self.pcm.read())[0] > 0:
            self.heard += read[1]

    async def idle(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.read()
            if self.stopped.is_set():
                self.heard = self.heard[-PREROLL_BYTES:]

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"{}\n")
        async for line in reader:
            request = json.loads(line)
            if "subscribe" in request:
                self.subscribers.append(writer)
            elif request["action"] == "start":
                self.read()
                self.heard = self.heard[-PREROLL_BYTES:]
                self.stopped.clear()
                self.dictation = asyncio.create_task(self.dictate())
            else:
                self.read()
                self.stopped.set()
            writer.write(b'{"ok": true}\n')

    async def dictate(self) -> None:
        def append(position: int, pcm: bytes) -> bytes:
            packets = [pcm[at : at + PACKET_BYTES] for at in range(0, len(pcm), PACKET_BYTES)]
            audio = {"packets": packets, "volumes": [0.0] * len(packets), "packet_duration": 0.1}
            return bytes(msgpack.packb({"type": "append", "position": position, "audio_packets": audio}))

        async with connect(self.url, compression=None, additional_headers={"Encoding": "msgpack"}) as socket:
            await socket.send(msgpack.packb({"type": "auth", "language": ["en"]}))
            await socket.recv()
            sent = len(self.heard) // PACKET_BYTES
            await socket.send(append(0, self.heard[: sent * PACKET_BYTES]))
            await self.stopped.wait()
            rest = self.heard[sent * PACKET_BYTES :]
            rest += bytes(-len(rest) % PACKET_BYTES)
            await socket.send(append(sent, rest))
            await socket.send(msgpack.packb({"type": "commit", "total_packets": sent + len(rest) // PACKET_BYTES}))
            async for frame in socket:
                text = msgpack.unpackb(frame)
                if text["status"] == "text":
                    for writer in self.subscribers:
                        writer.write(json.dumps(text).encode() + b"\n")
                    break


async def main(device: str, url: str, path: str) -> None:
    relay = Relay(device, url)
    relay.stopped.set()
    await asyncio.start_unix_server(relay.client, path)
    print("ready", flush=True)
    await relay.idle()


asyncio.run(main(*sys.argv[1:]))
