"""A backend with levers: what each of its connections does is a script.

async with FakeBackend([hangs_up, works]) as backend:
    ...  # the first connection is closed at once; the second one, and all after it, work
    backend.calls[1].pcm
"""

import asyncio
import contextlib
import http
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ssl import SSLContext
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from flowpi.config.backends.flow import FlowSettings
from flowpi.config.secret import Secret
from flowpi.wire.codec import Encoding
from flowpi.wire.flow import FlowServer
from flowpi.wire.roles import MAX_UNREADABLE, AudioCommitted, AudioReceived, ServerEvent, SessionRequested
from tests.backends.levers import SLOW_S, Mood
from tests.sound import echo


class Call:
    """One connection, as a script drives it."""

    def __init__(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.socket = socket
        self.path = socket.request.path
        self.flow = FlowServer(encoding=FlowServer.encoding_for(socket.request.headers.get("Encoding")), strict=True)
        self.encoding = self.flow.encoding
        self.session: SessionRequested | None = None
        self.pcm = b""
        self.appends: list[int] = []
        """Bytes of PCM in each."""
        self.committed = False

    async def authenticate(self) -> None:
        while self.session is None:
            await self._receive()
        self.flow.accept()
        await self.flush()

    async def hear(self, packets: int | None = None) -> None:
        """Until so many packets came, or the commit."""
        while not self.committed and (packets is None or self.flow.position < packets):
            await self._receive()

    async def say(self, text: str, *, final: bool = False) -> None:
        if final:
            self.flow.final(text, "en")
        else:
            self.flow.partial(text, "en")
        await self.flush()

    async def flush(self) -> None:
        for frame in self.flow.data_to_send():
            await self.socket.send(frame)

    async def _receive(self) -> None:
        events: list[ServerEvent] = self.flow.receive(await self.socket.recv())
        for event in events:
            match event:
                case SessionRequested():
                    self.session = event
                case AudioReceived(pcm):
                    self.pcm += pcm
                    self.appends.append(len(pcm))
                case AudioCommitted():
                    self.committed = True
        if self.committed:
            await self.flush()


Script = Callable[[Call], Awaitable[None]]


async def works(call: Call) -> None:
    await call.authenticate()
    await call.hear()
    await call.say(echo(call.pcm, packet_ms=1), final=True)


async def is_mute(call: Call) -> None:
    await call.socket.wait_closed()


async def is_mute_after_auth(call: Call) -> None:
    await call.authenticate()
    await call.socket.wait_closed()


async def is_mute_after_commit(call: Call) -> None:
    await call.authenticate()
    await call.hear()
    await call.say("it was")
    await call.socket.wait_closed()


async def hangs_up(call: Call) -> None:
    pass


async def hangs_up_after_auth(call: Call) -> None:
    await call.authenticate()


async def hangs_up_in_the_middle(call: Call) -> None:
    await call.authenticate()
    await call.hear(1)
    await call.say("it was")
    await call.socket.close(1011)


async def hangs_up_after_commit(call: Call) -> None:
    await call.authenticate()
    await call.hear()


async def calls_nothing_final(call: Call) -> None:
    await call.authenticate()
    await call.hear()
    await call.say(echo(call.pcm, packet_ms=1))


async def calls_the_first_words_final(call: Call) -> None:
    await call.authenticate()
    await call.hear(1)
    await call.say("it was", final=True)


async def refuses(call: Call) -> None:
    call.flow.fail("the quota is used up")
    await call.flush()


async def talks_rubbish(call: Call) -> None:
    """More of it than is passed over."""
    await call.authenticate()
    for _ in range(MAX_UNREADABLE + 1):
        await call.socket.send('{"text": ' if call.encoding is Encoding.JSON else b"\xc1")
    await call.socket.wait_closed()


async def answers_in_text(call: Call) -> None:
    """As a server does that never looks at the `Encoding` header."""
    await call.socket.recv()
    await call.socket.send('{"status": "auth"}')
    await call.socket.wait_closed()


class FakeBackend:
    """A WebSocket server. `status`: answer the upgrade with this HTTP status instead."""

    def __init__(
        self,
        scripts: Sequence[Script] = (works,),
        *,
        status: int | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        ssl: SSLContext | None = None,
    ) -> None:
        self.status = status
        self.statuses: list[int] = []
        """For the next connections, one each, before `status` counts."""
        self.headers: dict[str, str] = {}
        """Of an answer with a status."""
        self.asked = 0
        """Connections, those that were answered with a status too."""
        self.calls: list[Call] = []
        self._scripts = scripts
        self._port = port
        self._host = host
        self._ssl = ssl
        self._server: Server | None = None
        self._called = asyncio.Event()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"ws://{self._host}:{self.port}/ws"

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def called(self, times: int) -> Call:
        """The n-th connection, once it is there."""
        while len(self.calls) < times:
            self._called.clear()
            await self._called.wait()
        return self.calls[times - 1]

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._handle,
            self._host,
            self._port,
            process_request=self._process_request,
            ssl=self._ssl,
            compression=None,
            max_size=None,
            close_timeout=0.2,
            ping_interval=None,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else self.status
        if not status:
            return None
        response = connection.respond(http.HTTPStatus(status), "no")
        response.headers.update(self.headers)
        return response

    async def _handle(self, socket: ServerConnection) -> None:
        call = Call(socket)
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        self._called.set()
        with contextlib.suppress(ConnectionClosed):
            await script(call)


@contextlib.asynccontextmanager
async def dumb_server(reply: bytes = b"") -> AsyncIterator[int]:
    """A TCP server on 127.0.0.1 that sends only `reply`; yields its port. The context ends when a client has left."""
    left = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await reader.read()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        left.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        port: int = server.sockets[0].getsockname()[1]
        yield port
        await left.wait()


class FlowLevers(FakeBackend):
    """See `Levers`."""

    STATUSES: ClassVar = {Mood.UNAUTHORIZED: 401, Mood.FORBIDDEN: 403, Mood.BUSY: 429}

    def __init__(self, port: int, key: str) -> None:
        super().__init__([self._script], port=port)
        self.mood = Mood.WORKS
        self.key = key

    @property
    def heard(self) -> list[bytes]:
        return [call.pcm for call in self.calls]

    def text(self, pcm: bytes) -> str:
        return echo(pcm)

    def settings(self, key: Secret) -> FlowSettings:
        return FlowSettings(f"ws://127.0.0.1:{self._port}/client_ws", client_key=key)

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        accepted = unquote(request.path).endswith(f"=Bearer {self.key}")
        self.status = self.STATUSES.get(self.mood, None if accepted else 401)
        return super()._process_request(connection, request)

    async def _script(self, call: Call) -> None:
        match self.mood:
            case Mood.SILENT:
                await is_mute(call)
            case Mood.RUBBISH:
                await talks_rubbish(call)
            case Mood.CUT:
                await call.authenticate()
                await call.hear(1)
                call.socket.transport.abort()
            case Mood.SLOW:
                await call.authenticate()
                await call.hear()
                await call.say("it was")
                await asyncio.sleep(SLOW_S)
                await call.say(echo(call.pcm), final=True)
            case _:
                await works(call)
