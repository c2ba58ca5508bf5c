"""A receiver of webhooks on a real connection: it checks each signature with the official library, and has levers."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_canarycanarycanarycanarycanary12"
OTHER_SECRET = "whsec_otherotherotherothercanarycanary"
"""Good base64, with the word that may be in no line of a log."""

Behaviour = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


def answer(status: int, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} As scripted", "Content-Length: 0"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def mute(writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


async def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection in the middle of the answer."""
    writer.write(b"HTTP/1.1 200 O")
    await writer.drain()
    writer.transport.abort()


async def slow_body(writer: asyncio.StreamWriter) -> None:
    """Accept it, and never end the body."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{")
    await asyncio.Event().wait()


async def huge_body(writer: asyncio.StreamWriter) -> None:
    """Accept it, and send for as long as anybody reads."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


class Request(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Accepts what has a good signature, unless the script says otherwise.

    Attributes:
        script: how to answer the next requests; a good one behind them is accepted.
        requests: all that came. `accepted`: the bodies of those that were answered 2xx by the rule, in order.
    """

    def __init__(self, *secrets: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.secrets = secrets
        self.script: list[Behaviour] = []
        self.requests: list[Request] = []
        self.accepted: list[dict[str, Any]] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=canary"

    @property
    def texts(self) -> list[int]:
        """The numbers of the texts that were accepted."""
        return [int(body["data"]["id"][-3:]) for body in self.accepted if body["type"] == "transcript.final"]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving[task] = writer
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._respond(await _request(reader), writer)
        finally:
            del self._serving[task]
            writer.close()

    async def _respond(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        behaviour = self.script.pop(0) if self.script else self._judged(request)
        if isinstance(behaviour, bytes):
            writer.write(behaviour)
            await writer.drain()
        else:
            await behaviour(writer)

    def _judged(self, request: Request) -> bytes:
        if not self.is_genuine(request):
            return answer(400)
        self.accepted.append(json.loads(request.body))
        return answer(204)

    def is_genuine(self, request: Request) -> bool:
        """Return whether all secrets verify the request, by the official library."""
        try:
            for secret in self.secrets:
                Webhook(secret).verify(request.body, request.headers)
        except WebhookVerificationError:
            return False
        return True


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))


@contextlib.asynccontextmanager
async def receiver(*secrets: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    one = Receiver(*secrets, tls=tls)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
