"""An OpenAI-compatible server on a real connection, with levers: it may do with a text what it likes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from flowpi.config.secret import Secret
from flowpi.config.text import RewriteSettings

KEY = "canary-key"
"""The word in it may be in no line of a log."""

Behaviour = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def response(body: bytes, status: int = 200, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} As scripted", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(text: str | None, finish_reason: str = "stop") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return response(json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


async def mute(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def cut_off(writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of a good answer."""
    whole = answer("I think that we should go.")
    writer.write(whole[: len(whole) // 2])
    await writer.drain()
    writer.transport.abort()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Begin a good answer, and never end it."""
    writer.write(answer("I think that we should go.")[:-5])
    await asyncio.Event().wait()


async def huge(writer: asyncio.StreamWriter) -> None:
    """Send for as long as anybody reads."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


class ScriptedModel:
    """Answers each chat as `behaviour` says, and lists `models`.

    Attributes:
        requests: the chats that came, decoded. `keys`: their headers of authorization.
    """

    def __init__(self) -> None:
        self.behaviour: Behaviour = mute
        self.models: bytes = response(json.dumps({"data": [{"id": "tiny"}]}).encode())
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.port = 0
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def settings(self, timeout_s: float = 30, **others: Any) -> RewriteSettings:
        values = {"url": self.url, "model": "tiny", "api_key": Secret("literal", KEY)}
        return RewriteSettings(timeout_s=timeout_s, **{**values, **others})

    def speech(self) -> list[str]:
        """Return what was between the marks, of each chat."""
        return [request["messages"][1]["content"].split("\n", 1)[1].rsplit("\n", 1)[0] for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.keys.append(headers.get("authorization"))
            behaviour: Behaviour = self.models
            if head.startswith("POST /v1/chat/completions "):
                self.requests.append(json.loads(body))
                behaviour = self.behaviour
            if isinstance(behaviour, bytes):
                writer.write(behaviour)
                await writer.drain()
            else:
                await behaviour(writer)
        writer.close()
        self._serving.discard(task)

    async def close(self) -> None:
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


@contextlib.asynccontextmanager
async def scripted_model() -> AsyncIterator[ScriptedModel]:
    model = ScriptedModel()
    server = await asyncio.start_server(model.serve, "127.0.0.1", 0)
    model.port = server.sockets[0].getsockname()[1]
    try:
        yield model
    finally:
        server.close()
        await model.close()
