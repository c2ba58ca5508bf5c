"""The transcription server: Flow's WebSocket endpoints in front of an engine.

Theory of operation. One connection is one utterance. Its handler receives frames, hands them to the pure `FlowServer`
and the audio to a `Transcription`; beside it, a task has a worker take what waits and sends the interim texts. After
the commit the handler ends that task and has another worker conclude.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Sequence
from types import TracebackType

from aiohttp import web

from flowpi.server.engines import Engine, load_engine
from flowpi.server.listeners import Listener, parse_address
from flowpi.server.session import Session, Workers
from flowpi.wire.flow import FlowServer

log = logging.getLogger(__name__)

ENDPOINTS = "/api/v1/dash/ws", "/api/v1/dash/client_ws"

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Four minutes of audio, or three as base64; W0 recommends a second an append and names no limit."""

IDLE_S = 60.0
"""A client that sends nothing for so long gives its place to others. No pings: a client on this machine that is gone
has closed its connection, and one whose audio waits to be heard could not answer."""
CLOSE_S = 2.0
"""How long a client may take to answer a close."""


class Server:
    """Listens while its context is entered.

        async with Server(["127.0.0.1:0"], load_engine("echo")) as server:
            server.urls  # ["ws://127.0.0.1:40123"]

    Leaving ends every session with close code 1001 (going away), within a few seconds.

    Args:
        listen: HOST:PORT (port 0: any) and unix:PATH.
        engine: loaded.
        strict: accept only the documented form of the dialect.
        max_sessions: beyond it a client is answered with HTTP 503.
        idle_s: a client that sends nothing for so long is turned out.
    """

    def __init__(
        self,
        listen: Sequence[str],
        engine: Engine,
        *,
        strict: bool = False,
        max_sessions: int = 16,
        idle_s: float = IDLE_S,
    ) -> None:
        self._addresses = [parse_address(text) for text in listen]
        self._engine = engine
        self._strict = strict
        self._max_sessions = max_sessions
        self._idle_s = idle_s
        self._sessions: set[Session] = set()
        self._numbers = itertools.count(1)
        self._listeners: list[Listener] = []
        self._workers = Workers()
        app = web.Application()
        app.add_routes([web.get(path, self._handle) for path in ENDPOINTS])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)

    @property
    def urls(self) -> list[str]:
        """Where it listens, in the order of `listen`; an endpoint's path goes behind each."""
        return [listener.url for listener in self._listeners]

    @property
    def sessions(self) -> int:
        """How many are open."""
        return len(self._sessions)

    async def __aenter__(self) -> "Server":
        """Raises:
        AlreadyRunning, CannotCreateError, NoPermissionError: as `Listener`.
        """
        try:
            for address in self._addresses:
                self._listeners.append(Listener(address))
            await self._runner.setup()
            for listener in self._listeners:
                await web.SockSite(self._runner, listener.socket).start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for site in self._runner.sites:
            await site.stop()
        for listener in self._listeners:
            listener.close()
        if self._sessions:
            await asyncio.wait([asyncio.create_task(session.dismiss()) for session in self._sessions])
        await self._runner.cleanup()
        self._workers.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if len(self._sessions) >= self._max_sessions:
            return web.json_response({"detail": f"all {self._max_sessions} sessions are in use"}, status=503)
        socket = web.WebSocketResponse(
            timeout=CLOSE_S,
            receive_timeout=self._idle_s,
            compress=False,  # PCM does not compress, and a small frame could unpack into a gigabyte
            max_msg_size=MAX_FRAME_BYTES,
        )
        encoding = FlowServer.encoding_for(request.headers.get("Encoding"))
        flow = FlowServer(encoding=encoding, strict=self._strict)
        session = Session(next(self._numbers), socket, flow, self._engine, self._workers)
        self._sessions.add(session)
        try:
            await socket.prepare(request)
            await session.run()
        finally:
            self._sessions.discard(session)
        return socket


async def serve(
    listen: Sequence[str],
    engine_name: str,
    *,
    strict: bool = False,
    max_sessions: int = 16,
    ready: Callable[[], None] | None = None,
) -> None:
    """Run a transcription server until cancelled; it then closes within a few seconds.

    Args:
        listen, strict, max_sessions: as `Server`.
        engine_name: a key of `ENGINES`.
        ready: called once the engine is loaded and every address listens.

    Raises:
        UsageError: an address or the engine's name.
        EngineUnavailable: the engine cannot be loaded here.
        AlreadyRunning, CannotCreateError, NoPermissionError: an address cannot be had.
    """
    for text in listen:
        parse_address(text)  # a slip of the pen is told before the engine takes its second
    engine = await asyncio.to_thread(load_engine, engine_name)
    async with Server(listen, engine, strict=strict, max_sessions=max_sessions) as server:
        log.info("serving %s on %s", engine_name, ", ".join(server.urls))
        if ready:
            ready()
        await asyncio.get_running_loop().create_future()  # for ever
