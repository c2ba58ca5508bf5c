"""T1, a floor: the shortest Python program that streams a microphone. ALSA is read every 100 ms by a timer.

    python tests/bench/t1.py DEVICE URL

Run it as a script, so that it imports only what it uses. It keeps nothing, retries nothing, and stops when killed.
"""

import asyncio
import audioop
import sys

import alsaaudio
import msgpack
from websockets.asyncio.client import connect

PACKET_BYTES = 3200


async def main(device: str, url: str) -> None:
    pcm = alsaaudio.PCM(
        alsaaudio.PCM_CAPTURE, alsaaudio.PCM_NONBLOCK, rate=16_000, channels=1, format=alsaaudio.PCM_FORMAT_S16_LE,
        periodsize=320, periods=50, device=device,
    )  # fmt: skip
    async with connect(url, compression=None, additional_headers={"Encoding": "msgpack"}) as socket:
        await socket.send(msgpack.packb({"type": "auth", "language": ["en"]}))
        await socket.recv()
        heard, packets, volumes, position = b"", [], [], 0
        due = asyncio.get_running_loop().time()
        while True:
            due += 0.1
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            while (read := pcm.read())[0] > 0:
                heard += read[1]
            while len(heard) >= PACKET_BYTES:
                packet, heard = heard[:PACKET_BYTES], heard[PACKET_BYTES:]
                packets.append(packet)
                volumes.append(round(audioop.rms(packet, 2) / 32_768, 3))
            if len(packets) >= 10:
                audio = {
                    "packets": packets, "volumes": volumes, "packet_duration": 0.1, "audio_encoding": "pcm",
                    "byte_encoding": "binary",
                }  # fmt: skip
                await socket.send(msgpack.packb({"type": "append", "position": position, "audio_packets": audio}))
                position += len(packets)
                packets, volumes = [], []


asyncio.run(main(*sys.argv[1:]))
