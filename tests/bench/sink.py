"""The server of the bench, a process that counts, times and checks what arrives, and recognises nothing.

    python -m tests.bench.sink

Its first line on stdout is `Addresses` as JSON; each Flow session ends with one `Session` as JSON.
"""

import asyncio
import sys
import time

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from flowpi.wire.flow import FlowServer
from flowpi.wire.roles import AudioCommitted, AudioReceived, ClientProtocolError, SessionRequested
from tests.audio.listening import missing, samples

FINAL_AFTER_S = 0.05
"""The delay between commit and final, to separate the client's work after a release from its work for a text."""


class Addresses(msgspec.Struct):
    flow: str
    """The URL of the Flow server. Any path may follow, and is returned as `Session.path`."""
    raw_port: int
    """The port of a TCP server that discards what it reads."""


class Session(msgspec.Struct):
    """What one connection carried. Times are the monotonic seconds at which bytes were read from the socket."""

    path: str
    handshake_bytes: int = 0
    wire_bytes: int = 0
    """The bytes after the handshake, including the framing."""
    pcm_bytes: int = 0
    stream_wire_bytes: int = 0
    """The bytes from the end of the first append to the last but one: without what occurs once. 0 if it was short."""
    stream_pcm_bytes: int = 0
    first_append_at: float = 0.0
    commit_at: float = 0.0
    final_at: float = 0.0
    """When the final text was passed to the kernel."""
    first_sample: int = 0
    last_sample: int = 0
    """The last clock number (`tests/rig/microphone.c`) of the audio without the padding of its last packet."""
    missing_frames: int = 0
    """The number of frames that are missing between the first and the last."""


class Connection(ServerConnection):
    """Counts what is on the wire."""

    bytes_in = 0
    read_at = 0.0

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self.read_at = time.monotonic()
        super().data_received(data)


async def handle(socket: ServerConnection) -> None:
    assert isinstance(socket, Connection)
    assert socket.request
    flow = FlowServer(encoding=FlowServer.encoding_for(socket.request.headers.get("Encoding")))
    session = Session(socket.request.path, handshake_bytes=socket.bytes_in)
    pcm = bytearray()
    appends: list[tuple[int, int]] = []  # the bytes read and the bytes of PCM after each

    async def flush() -> None:
        for frame in flow.data_to_send():
            await socket.send(frame)

    try:
        async for frame in socket:
            for event in flow.receive(frame):
                match event:
                    case SessionRequested():
                        flow.accept()
                    case AudioReceived():
                        session.first_append_at = session.first_append_at or socket.read_at
                        pcm += event.pcm
                        appends.append((socket.bytes_in, len(pcm)))
                    case AudioCommitted():
                        session.commit_at = socket.read_at
                        session.wire_bytes = socket.bytes_in - session.handshake_bytes
                        await flush()
                        await asyncio.sleep(FINAL_AFTER_S)
                        flow.final("text", "en")
                        [final] = flow.data_to_send()
                        session.final_at = time.monotonic()
                        await socket.send(final)
            await flush()
            if session.final_at:
                break
    except ClientProtocolError as departure:
        print(f"{session.path}: {departure}", file=sys.stderr)
        await flush()
    except ConnectionClosed:  # the client is a floor, and was killed
        pass
    session.wire_bytes = session.wire_bytes or socket.bytes_in - session.handshake_bytes
    session.pcm_bytes = len(pcm)
    if len(appends) > 2:
        session.stream_wire_bytes = appends[-2][0] - appends[0][0]
        session.stream_pcm_bytes = appends[-2][1] - appends[0][1]
    spoken = bytes(pcm).rstrip(b"\0")
    spoken += b"\0" * (len(spoken) % 2)
    if spoken:
        session.first_sample, session.last_sample = samples(spoken)[0], samples(spoken)[-1]
        session.missing_frames = sum(missing(spoken))
    say(session)


async def forget(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1 << 16):
        pass
    writer.close()


def say(message: msgspec.Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def main() -> None:
    raw = await asyncio.start_server(forget, "127.0.0.1", 0)
    async with serve(handle, "127.0.0.1", 0, create_connection=Connection, compression=None, max_size=1 << 24) as flow:
        [listener] = flow.sockets
        say(Addresses(f"ws://127.0.0.1:{listener.getsockname()[1]}", raw.sockets[0].getsockname()[1]))
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main())
