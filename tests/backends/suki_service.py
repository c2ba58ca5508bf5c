"""A Suki service with levers, on a real port: what each of its streams does is a script.

async with FakeSuki([hangs_up_in_the_middle, works]) as service:
    ...  # the first stream breaks; the second one, and all after it, work
    service.streams[1].pcm
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import ClassVar, Self

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from flowpi.config.backends.suki import SukiSettings
from flowpi.config.secret import Secret
from flowpi.wire.roles import AudioCommitted, AudioReceived
from flowpi.wire.suki import CHUNK_BYTES, SukiServer
from flowpi.wire.suki_messages import CreateSession, GrpcCode, LoggedIn, Login, Refusal, SessionCreated, read_body
from flowpi.wire.suki_sessions import Partner, SukiSessions
from tests.backends.levers import SLOW_S, Mood
from tests.sound import echo

PARTNER_TOKEN = "canary-partner-token"


class Left(Exception):
    """The client closed the connection, or lost it."""


class Stream:
    """One utterance, as a script drives it. Strict: what our client sends must be in the documented form."""

    def __init__(self, number: int, session_id: str, socket: web.WebSocketResponse, headers: dict[str, str]) -> None:
        self.session_id = session_id
        self.socket = socket
        self.headers = headers
        self.dialect = SukiServer(transcript_id=f"segment-{number}", strict=True)
        self.pcm = b""
        self.committed = False

    async def hear(self, chunks: int | None = None) -> None:
        """Until so many came, or the end."""
        while not self.committed and (chunks is None or len(self.pcm) < chunks * CHUNK_BYTES):
            message = await self.socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                raise Left
            for event in self.dialect.receive(message.data):
                match event:
                    case AudioReceived(pcm):
                        self.pcm += pcm
                    case AudioCommitted():
                        self.committed = True

    async def say(self, text: str, *, final: bool = False) -> None:
        """`final` says EOF too."""
        (self.dialect.final if final else self.dialect.partial)(text, "en")
        await self.flush()

    async def send(self, frame: str) -> None:
        await self.socket.send_str(frame)

    async def flush(self) -> None:
        for frame in self.dialect.data_to_send():
            await self.send(str(frame))

    async def until_it_leaves(self) -> None:
        while (await self.socket.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            pass


Script = Callable[[Stream], Awaitable[int | None]]
"""Returns the close code; 1000 for None."""


async def works(stream: Stream) -> None:
    await stream.hear()
    await stream.say(echo(stream.pcm, packet_ms=1), final=True)


async def says_no_eof(stream: Stream) -> None:
    await stream.hear()
    text = echo(stream.pcm, packet_ms=1)
    await stream.send(
        msgspec.json.encode({"transcript": {"transcript": text, "is_final": True, "transcript_id": "01JX"}}).decode()
    )


async def says_nothing(stream: Stream) -> None:
    await stream.hear()


async def is_mute(stream: Stream) -> None:
    await stream.until_it_leaves()


async def says_eof_too_early(stream: Stream) -> None:
    await stream.hear(1)
    await stream.say("it was", final=True)
    await stream.until_it_leaves()


async def refuses_in_a_frame(stream: Stream) -> None:
    """As a gateway does that upgrades before it asks."""
    await stream.send('{"error": {"code": 9, "message": "transcript session is not accepting new speech sessions"}}')


async def fails(stream: Stream) -> None:
    await stream.hear(1)
    stream.dialect.fail(f"broken, {stream.headers['sdp_suki_token']}")
    await stream.flush()


def closes(code: int) -> Script:
    async def script(stream: Stream) -> int:
        await stream.hear(1)
        await stream.say("it was")
        return code

    return script


async def breaks(stream: Stream) -> None:
    await stream.hear(1)
    assert stream.socket._req is not None  # aiohttp has no public way to break a connection
    transport = stream.socket._req.transport
    assert transport is not None
    transport.abort()
    await stream.until_it_leaves()


async def names_an_expired_token(stream: Stream) -> None:
    await stream.hear(2)
    await stream.send('{"error": {"code": 16, "message": "token has expired"}}')


class FakeSuki:
    """Levers:

    `keeps_running`: the service goes on to think that a session runs after its stream broke.
    `busy`: so many upgrades are refused although the session is free.
    `refusal`: what a refused upgrade is answered with, status and body.
    `login_status`: what every login is answered with, but 200.
    `partner_token`: the one that it accepts.
    `held`: until it is set, no session is made.
    `answer`, `create_status`: what the making of a session is answered with instead.
    """

    def __init__(self, scripts: Sequence[Script] = (works,), *, provider_id: str | None = None, port: int = 0) -> None:
        self.keeps_running = False
        self.busy = 0
        self.refusal: tuple[int, str] | None = None
        self.login_status = 200
        self.partner_token = PARTNER_TOKEN
        self.held: asyncio.Event | None = None
        self.answer: bytes | None = None
        self.create_status = 201
        self.streams: list[Stream] = []
        self.logins: list[Login] = []
        self.made: list[str] = []
        self.ended: list[str] = []
        """Those that it was asked to end."""
        self.upgrades = 0
        self.sessions = SukiSessions()
        self._owner = Partner("partner", provider_id)
        self._scripts = scripts
        self._port = port
        self._tokens: set[str] = set()
        self._called = asyncio.Event()
        app = web.Application()
        app.router.add_post("/sdp/api/v1/auth/login", self._log_in)
        app.router.add_post("/sdp/api/v1/transcription/session/create", self._create)
        app.router.add_post("/sdp/api/v1/transcription/session/{id}/end", self._end)
        app.router.add_get("/sdp/ws/transcribe", self._stream)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/sdp"

    def expire_tokens(self) -> None:
        self._tokens.clear()

    def forget_sessions(self) -> None:
        self.sessions = SukiSessions()

    def end_session(self, session_id: str) -> None:
        """As another program of this partner may do."""
        self.sessions.end(self._owner, session_id, _now())

    async def stream(self, number: int) -> Stream:
        """The n-th, once it is there."""
        while len(self.streams) < number:
            self._called.clear()
            await self._called.wait()
        return self.streams[number - 1]

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self.streams:
            await stream.socket.close()
        await self._runner.cleanup()

    def _check(self, request: web.Request) -> None:
        if request.headers.get("sdp_suki_token") not in self._tokens:
            raise Refusal(GrpcCode.UNAUTHENTICATED, "token has expired")
        if request.headers.get("sdp_provider_id") != self._owner.provider_id:
            raise Refusal(GrpcCode.PERMISSION_DENIED, "sdp_provider_id: not this one")

    async def _log_in(self, request: web.Request) -> web.Response:
        try:
            login = read_body(await request.read(), Login)
        except Refusal as refusal:
            return _refused(refusal)
        self.logins.append(login)
        if self.login_status != 200 or login.partner_token != self.partner_token:
            status = 401 if self.login_status == 200 else self.login_status
            return web.json_response({"code": 16, "message": f"bad token {login.partner_token}"}, status=status)
        token = f"canary-jwt-{len(self.logins)}"
        self._tokens.add(token)
        return _json(LoggedIn(token))

    async def _create(self, request: web.Request) -> web.Response:
        if self.held is not None:
            await self.held.wait()
        if self.answer is not None:
            return web.Response(body=self.answer, status=self.create_status)
        try:
            self._check(request)
            body = read_body(await request.read(), CreateSession)
            session = self.sessions.create(self._owner, body, f"session-{len(self.made) + 1}", _now())
        except Refusal as refusal:
            return _refused(refusal)
        self.made.append(session)
        return _json(SessionCreated(session), 201)

    async def _end(self, request: web.Request) -> web.Response:
        try:
            self._check(request)
            self.ended.append(request.match_info["id"])
            self.sessions.end(self._owner, request.match_info["id"], _now())
        except Refusal as refusal:
            return _refused(refusal)
        return web.json_response({})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.upgrades += 1
        session_id = request.headers.get("transcription_session_id", "")
        try:
            self._check(request)
            if self.refusal is not None:
                return web.Response(status=self.refusal[0], text=self.refusal[1])
            if self.busy > 0:
                self.busy -= 1
                raise Refusal(GrpcCode.FAILED_PRECONDITION, "another text for it")
            self.sessions.open(self._owner, session_id, _now())
        except Refusal as refusal:
            return _refused(refusal)
        socket = web.WebSocketResponse(timeout=1)
        await socket.prepare(request)
        number = len(self.streams)
        stream = Stream(number + 1, session_id, socket, dict(request.headers))
        self.streams.append(stream)
        self._called.set()
        done = False
        try:
            with contextlib.suppress(Left, ConnectionError):
                code = await self._scripts[min(number, len(self._scripts) - 1)](stream)
                await socket.close(code=code or WSCloseCode.OK)
                done = stream.committed
        finally:
            if done or not self.keeps_running:
                self.sessions.drop(session_id, _now())
        return socket


class SukiLevers(FakeSuki):
    """See `Levers`."""

    STATUSES: ClassVar = {Mood.UNAUTHORIZED: 401, Mood.FORBIDDEN: 403}

    def __init__(self, port: int, key: str) -> None:
        super().__init__([self._script], port=port)
        self.mood = Mood.WORKS
        self.key = key

    @property
    def asked(self) -> int:
        return self.upgrades

    @property
    def heard(self) -> list[bytes]:
        return [stream.pcm for stream in self.streams]

    def text(self, pcm: bytes) -> str:
        return echo(pcm)

    def settings(self, key: Secret) -> SukiSettings:
        return SukiSettings("partner", key, url=f"http://127.0.0.1:{self._port}/sdp")

    async def _log_in(self, request: web.Request) -> web.Response:
        self.login_status = self.STATUSES.get(self.mood, 200)
        self.partner_token = self.key
        return await super()._log_in(request)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.busy = int(self.mood is Mood.BUSY)
        return await super()._stream(request)

    async def _script(self, stream: Stream) -> None:
        match self.mood:
            case Mood.SILENT:
                await is_mute(stream)
            case Mood.RUBBISH:
                await stream.send('{"transcript": ')
                await stream.until_it_leaves()
            case Mood.CUT:
                await breaks(stream)
            case Mood.SLOW:
                await stream.hear()
                await stream.say("it was")
                await asyncio.sleep(SLOW_S)
                await stream.say(echo(stream.pcm), final=True)
            case _:
                await works(stream)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _json(body: msgspec.Struct, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    return _json(refusal.status, refusal.http_status)
