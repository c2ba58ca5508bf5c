"""A WebSocket as a stream, against a server that does what a test says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve, unix_serve

from flowpi.backends.patience import Patience
from flowpi.backends.session import TAKEN_BYTES
from flowpi.backends.stream import Stream, StreamClosed
from flowpi.backends.websocket import connect_websocket
from flowpi.core.errors import ProtocolError
from flowpi.wire.codec import MAX_FRAME_BYTES
from tests.waiting import PATIENCE_S, until

Script = Callable[[ServerConnection], Awaitable[None]]
CLOSE_S = 0.2


@asynccontextmanager
async def stream_to(script: Script, path: Path | None = None) -> AsyncIterator[Stream]:
    """A stream to a server whose end of it is `script`; closed afterwards. `path`: over a Unix socket."""
    options: dict[str, Any] = {"max_size": None, "compression": None, "close_timeout": 0.1}
    async with unix_serve(script, path, **options) if path else serve(script, "127.0.0.1", 0, **options) as server:
        url, unix = "ws://localhost", str(path) if path else None
        if path is None:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        patience = Patience(close_s=CLOSE_S)
        stream = await connect_websocket(url, headers={}, unix=unix, tls=None, patience=patience)
        try:
            yield stream
        finally:
            await stream.close()
            await stream.wait_closed()


async def echoes(socket: ServerConnection) -> None:
    async for frame in socket:
        await socket.send(frame)


async def test_frames_of_both_kinds_in_order() -> None:
    async with stream_to(echoes) as stream:
        for frame in ("text", b"\0\xff", ""):
            await stream.send(frame)
        assert [await stream.receive() for _ in range(3)] == ["text", b"\0\xff", ""]


@pytest.mark.parametrize("code", [1000, 1011, 4001])
async def test_the_peer_says_why_it_closes_once_its_frames_are_read(code: int) -> None:
    async def says_goodbye(socket: ServerConnection) -> None:
        await socket.send("last")
        await socket.close(code, "why")

    async with stream_to(says_goodbye) as stream:
        await stream.wait_closed()
        assert await stream.receive() == "last"
        for call in (stream.receive(), stream.send("x"), stream.keep_alive()):
            with pytest.raises(StreamClosed) as caught:
                await call
            assert (caught.value.code, caught.value.reason) == (code, "why")


async def test_a_connection_that_breaks_gives_no_reason() -> None:
    async def breaks(socket: ServerConnection) -> None:
        socket.transport.abort()

    async with stream_to(breaks) as stream:
        with pytest.raises(StreamClosed) as caught:
            await stream.receive()
        assert (caught.value.code, caught.value.reason) == (None, "")


async def test_our_own_goodbye_is_not_the_peers_reason() -> None:
    async def leaves_without_a_word(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with stream_to(leaves_without_a_word) as stream:
        receiving = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        await stream.close()
        with pytest.raises(StreamClosed) as caught:
            await receiving
        assert caught.value.code == 1000  # its answer


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\x82\x7f" + (MAX_FRAME_BYTES + 1).to_bytes(8, "big"), "the server sent a message of more than 256 KiB"),
        (b"\x81\x02\xff\xff", "the server does not keep to the WebSocket protocol"),  # not UTF-8
        (b"\x8f\x00", "the server does not keep to the WebSocket protocol"),  # no such opcode
    ],
)
async def test_a_peer_that_breaks_the_rules(frame: bytes, message: str) -> None:
    async def breaks_the_rules(socket: ServerConnection) -> None:
        socket.transport.write(frame)
        await socket.wait_closed()

    async with stream_to(breaks_the_rules) as stream:
        with pytest.raises(ProtocolError, match=rf"^{message}$"):
            await stream.receive()


@pytest.mark.parametrize(("transport", "size"), [("tcp", 1 << 20), ("unix", 100_000)])
async def test_what_the_peer_has_yet_to_take_shrinks_when_it_reads(tmp_path: Path, transport: str, size: int) -> None:
    """All of `size` is in the buffers of the kernel once `send` returns, and the peer's own buffer holds less of it."""

    async def reads_when_told(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        reads.append(socket.transport.resume_reading)
        await socket.recv()
        await socket.wait_closed()

    reads: list[Callable[[], None]] = []
    async with stream_to(reads_when_told, tmp_path / "asr.sock" if transport == "unix" else None) as stream:
        await until(lambda: reads)
        await stream.send(bytes(size))
        assert stream.untaken_bytes() > 2 * TAKEN_BYTES  # more than the library's buffer keeps
        reads.pop()()
        await until(lambda: stream.untaken_bytes() == 0)
    assert stream.untaken_bytes() == 0


async def test_close_does_not_wait_for_a_peer_that_reads_nothing() -> None:
    async def reads_no_more(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        await released.wait()
        socket.transport.abort()

    released = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with stream_to(reads_no_more) as stream:
        sending = asyncio.create_task(stream.send(bytes(32 << 20)))  # more than the kernel's buffers take
        await asyncio.sleep(0.05)
        began = loop.time()
        async with asyncio.timeout(PATIENCE_S):
            await stream.close()
        took_s = loop.time() - began
        released.set()
        await asyncio.gather(sending, return_exceptions=True)
    assert took_s >= CLOSE_S
