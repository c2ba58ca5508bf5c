"""What servers do: each behaviour is one connection of a server, from its first byte on or after the upgrade.

`shows` serves one of them on every connection. The table of what follows from each is `test_behaviours.py`.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from inspect import signature
from typing import Any, TypeGuard

import msgpack

from flowpi.wire.codec import Frame
from tests.backends.fake_backend import Call, FakeBackend, Script
from tests.backends.hostile import PING, frame
from tests.backends.network import queued_bytes, window_is_closed
from tests.clock import SkippingLoop
from tests.waiting import ticks, until

Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What follows the request on a connection that does not become a WebSocket; it is closed afterwards."""

TEXT = "It was the best of times."


async def be_silent(seconds: float) -> None:
    """Let so much time pass, once the client waits, and let it act on that."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    await ticks()
    loop.skip(seconds)
    await ticks()


# Instead of the upgrade.


def says(reply: bytes) -> Raw:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    return behave


def answers(version: str, status: int, *headers: str, body: bytes = b"") -> Raw:
    """An HTTP status."""
    head = (f"HTTP/{version} {status} Whatever", *headers, f"Content-Length: {len(body)}", "Connection: close", "", "")
    return says("\r\n".join(head).encode() + body)


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def is_silent(seconds: float, first: bytes = b"") -> Raw:
    """It sends the beginning of an answer, or none, and leaves after so long."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        await be_silent(seconds)
        await reader.read()  # until the client has had enough

    return behave


def pours(first: bytes, piece: bytes, times: int) -> Raw:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(first)
            for _ in range(times):
                writer.write(piece)
                await writer.drain()

    return behave


# After the upgrade.


def packed(message: Any) -> bytes:
    return bytes(msgpack.packb(message))


def told(final: bool, text: Any = TEXT, **changed: Any) -> dict[str, Any]:
    return {"status": "text", "final": final, "body": {"text": text, "detected_language": "en"}, **changed}


GARBAGE: dict[str, tuple[Callable[[bool], Frame], str | None]] = {
    "surrogate": (lambda final: json.dumps(told(final, "It was \ud83d")), "It was \ufffd"),
    "surrogate-msgpack": (
        lambda final: packed(told(final, "It was ???")).replace(b"???", b"\xed\xa0\xbd"),
        "It was \ufffd\ufffd\ufffd",
    ),
    "bad-utf-8": (lambda final: packed(told(final, "It was ?")).replace(b"?", b"\xff"), "It was \ufffd"),
    "nan": (lambda final: json.dumps(told(final, confidence=float("nan"), position=float("nan"))), TEXT),
    "msgpack-ext": (lambda final: packed(told(final, at=msgpack.Timestamp(1))), TEXT),
    "big-map": (lambda final: packed(told(final, words={str(n): n for n in range(10_000)})), TEXT),
    "empty-text": (lambda final: json.dumps(told(final, "")), ""),
    "null-text": (lambda final: json.dumps(told(final, None)), None),
    "no-body": (lambda final: json.dumps({"status": "text", "final": final}), None),
    "empty-frame": (lambda final: "", None),
    "empty-frame-msgpack": (lambda final: b"", None),
    "hello": (lambda final: json.dumps({"hello": "1.0"}), None),
    "no-status": (lambda final: json.dumps({"type": "ping", "ts": 1}), None),
    "status-number": (lambda final: json.dumps({"status": 7}), None),
    "bare-json": (lambda final: json.dumps(TEXT), None),
}
"""Messages that no Flow server should send, as an interim or as the final text; and the text that can be read."""


async def read(call: Call) -> None:
    """Wait until the client has read what was sent."""
    await (await call.socket.ping())


def interrupts(*frames: Frame, times: int = 1) -> Script:
    """It says something between the audio, and then the text."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear(1)
        for _ in range(times):
            for each in frames:
                await call.socket.send(each)
        await read(call)
        await call.hear()
        await call.say(TEXT, final=True)

    return script


def ends_with(*frames: Frame) -> Script:
    """It says something instead of the text, and closes as if that were it."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear()
        for each in frames:
            await call.socket.send(each)
        await call.socket.close(1000)

    return script


def sends_raw(content: bytes) -> Script:
    """It breaks the rules of WebSockets instead of sending the text."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear()
        call.socket.transport.write(content)
        await call.socket.wait_closed()

    return script


def closes(code: int, *, committed: bool, reason: str = "") -> Script:
    """With a code, in the middle of the audio or when it has all of it. 1006: the connection breaks."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear(None if committed else 1)
        if code == 1006:
            call.socket.transport.abort()
        else:
            await call.socket.close(code, reason)

    return script


def refuses(reason: str) -> Script:
    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear()
        call.flow.fail(reason)
        await call.flush()

    return script


async def floods_with_pings(call: Call) -> None:
    await call.authenticate()
    call.socket.transport.write(frame(PING, b"?" * 125) * 10_000)
    await read(call)
    await call.hear()
    await call.say(TEXT, final=True)


async def floods_with_texts(call: Call) -> None:
    await call.authenticate()
    for number in range(2_000):
        await call.say(f"It was {number}")
    await read(call)
    await call.hear()
    await call.say(TEXT, final=True)


async def opens_never(call: Call) -> None:
    await call.socket.recv()
    await be_silent(11)
    await call.socket.wait_closed()


def opens_after(seconds: float) -> Script:
    """It opens the session so long after it was asked to."""

    async def script(call: Call) -> None:
        await be_silent(seconds)
        await call.authenticate()
        await call.hear()
        await call.say(TEXT, final=True)

    return script


def reads_after(*silences: float) -> Script:
    """It reads nothing for so long in the middle of the audio, from when the client has no room for more."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear(1)
        call.socket.transport.pause_reading()
        _, port = call.socket.local_address
        await until(lambda: window_is_closed(port))
        before = -1
        while (now := queued_bytes(port)) > before:  # the client's kernel has still room for more
            before = now
            await ticks(100)
        for seconds in silences:
            await be_silent(seconds)
        call.socket.transport.resume_reading()
        await call.hear()
        await call.say(TEXT, final=True)

    return script


def thinks(seconds: float, *shown: str) -> Script:
    """It takes so long for the text, and shows other texts meanwhile, each after so long."""

    async def script(call: Call) -> None:
        await call.authenticate()
        await call.hear()
        for text in (*shown, None):
            await be_silent(seconds)
            if text is not None:
                await call.say(text)
                await read(call)
        await call.say(TEXT, final=True)

    return script


def is_script(behaviour: Raw | Script) -> TypeGuard[Script]:
    return len(signature(behaviour).parameters) == 1


def is_raw(behaviour: Raw | Script) -> TypeGuard[Raw]:
    return not is_script(behaviour)


@contextlib.asynccontextmanager
async def shows(behaviour: Raw | Script, port: int) -> AsyncIterator[Callable[[], int]]:
    """A server on `port` of 127.0.0.1 with one behaviour; gives how often it was asked."""
    if is_script(behaviour):
        async with FakeBackend([behaviour], port=port) as backend:
            yield lambda: backend.asked
        return
    assert is_raw(behaviour)
    answer = behaviour
    asked = 0
    open_now: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        open_now.add(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read(1 << 16)
            await answer(reader, writer)
            await writer.drain()
        writer.close()
        open_now.discard(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        # As on a cable: a segment as large as those of the loopback would wait for more room than a client has at all.
        server.sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        yield lambda: asked
        for writer in open_now:
            writer.transport.abort()
