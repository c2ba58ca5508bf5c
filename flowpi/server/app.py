"""The transcription server: Flow's WebSocket endpoints in front of an engine.

Theory of operation. One connection is one utterance. Its handler receives frames, hands them to the pure `FlowServer`
and the audio to a `Transcription`; beside it, a task has a worker take what waits and sends the interim texts. After
the commit the handler ends that task and has another worker conclude.

Workers are two small pools, so that a final never queues behind the interim texts of others; where both run, the
interim ones are nicer. Nothing of an engine ever runs on the loop.

A client that sends faster than its audio is heard is not read until a minute of it is left; TCP tells it.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar, assert_never

from aiohttp import WSMsgType, web

from flowpi.server.engines import RATE_HZ, SAMPLE_BYTES, Engine, load_engine
from flowpi.server.listeners import Listener, parse_address
from flowpi.server.transcription import Transcription
from flowpi.wire.flow import AudioCommitted, AudioReceived, Departure, FlowServer, SessionRequested

Result = TypeVar("Result")

log = logging.getLogger(__name__)

ENDPOINTS = "/api/v1/dash/ws", "/api/v1/dash/client_ws"

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""The longest dictation that the vendor takes, six minutes, fits in one frame as base64 text (W0 names no limit)."""

MAX_WAITING_BYTES = 60 * RATE_HZ * SAMPLE_BYTES
IDLE_S = 60.0
"""A client that sends nothing for so long gives its place to others. No pings: a client on this machine that is gone
has closed its connection, and one whose audio waits to be heard could not answer."""
CLOSE_S = 2.0
"""How long a client may take to answer a close."""
INTERIM_NICENESS = 5


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


class Workers:
    """The threads that engines run on."""

    def __init__(self) -> None:
        count = os.cpu_count() or 1
        self._interim = ThreadPoolExecutor(count, "interim", initializer=_yield_to_finals)
        self._final = ThreadPoolExecutor(count, "final")

    async def interim(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._interim, work)

    async def final(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._final, work)

    def close(self) -> None:
        """Begin no more; what runs ends by itself."""
        self._interim.shutdown(wait=False, cancel_futures=True)
        self._final.shutdown(wait=False, cancel_futures=True)


def _yield_to_finals() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), INTERIM_NICENESS)  # on Linux: of this thread alone


class Session:
    """One client on one connection."""

    def __init__(
        self, number: int, socket: web.WebSocketResponse, flow: FlowServer, engine: Engine, workers: Workers
    ) -> None:
        self._number = number
        self._socket = socket
        self._flow = flow
        self._engine = engine
        self._workers = workers
        self._transcription: Transcription | None = None
        self._audio_waits = asyncio.Event()
        self._audio_taken = asyncio.Event()
        self._interim: asyncio.Task[None] | None = None
        self._outcome = "client left"

    async def run(self) -> None:
        """From the first frame until the connection is closed."""
        began_s = asyncio.get_running_loop().time()
        try:
            await self._receive()
        except TimeoutError:
            await self._fail("idle: no message came", 1008)
        except ConnectionError:
            pass  # gone in the middle of an answer
        except Exception:
            log.exception("session %d: broken", self._number)
            await self._fail("internal", 1011)
        finally:
            await self._end_interim()
            heard_s = self._transcription.heard_s if self._transcription else 0.0
            lasted_s = asyncio.get_running_loop().time() - began_s
            log.info("session %d: %s, %.1f s of audio in %.1f s", self._number, self._outcome, heard_s, lasted_s)

    async def dismiss(self) -> None:
        """The server stops."""
        self._outcome = "server stopped"
        if self._transcription:
            self._transcription.hurry()
        await self._close(1001)

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            try:
                for event in self._flow.receive(message.data):
                    match event:
                        case SessionRequested():
                            await self._begin(event)
                        case AudioReceived(pcm):
                            await self._hear(pcm)
                        case AudioCommitted():
                            await self._conclude()
                        case _:
                            assert_never(event)
            except Departure as departure:
                self._outcome = f"refused ({departure})"
                await self._close(1002)
            await self._flush()

    async def _begin(self, request: SessionRequested) -> None:
        asked = [tag.replace("_", "-").partition("-")[0].lower() for tag in request.language]
        if asked and self._engine.language not in asked:
            await self._fail(f"language: this server understands {self._engine.language}", 1008)
            return
        self._transcription = Transcription(self._engine, asked)
        self._interim = asyncio.create_task(self._send_interim_texts(self._transcription), name="interim texts")
        self._flow.accept()

    async def _hear(self, pcm: bytes) -> None:
        transcription = self._open_transcription
        transcription.add(pcm)
        self._audio_waits.set()
        while transcription.waiting_bytes > MAX_WAITING_BYTES and self._interim and not self._interim.done():
            self._audio_taken.clear()
            await self._audio_taken.wait()

    async def _conclude(self) -> None:
        transcription = self._open_transcription
        await self._end_interim()
        await self._flush()
        text = await self._workers.final(transcription.conclude)
        if self._socket.closed:
            return
        self._flow.final(text, self._engine.language)
        self._outcome = "final text sent"
        await self._close(1000)

    @property
    def _open_transcription(self) -> Transcription:
        assert self._transcription is not None  # the dialect lets nothing come before the auth
        return self._transcription

    async def _send_interim_texts(self, transcription: Transcription) -> None:
        try:
            while True:
                await self._audio_waits.wait()
                self._audio_waits.clear()
                text = await self._workers.interim(transcription.advance)
                self._audio_taken.set()
                if text is not None:
                    self._flow.partial(text, self._engine.language)
                    await self._flush()
        except ConnectionError:
            pass  # the handler learns it too
        except Exception:
            log.exception("session %d: the engine failed", self._number)
            await self._fail("internal", 1011)
        finally:
            self._audio_taken.set()

    async def _end_interim(self) -> None:
        if self._transcription:
            self._transcription.hurry()
        if self._interim and not self._interim.done():
            self._interim.cancel()
            await asyncio.wait([self._interim])

    async def _fail(self, reason: str, code: int) -> None:
        self._outcome = f"failed ({reason})"
        self._flow.fail(reason)
        await self._close(code)

    async def _close(self, code: int) -> None:
        """Send what is due and close; nothing, where that is done or the client is gone."""
        if not self._socket.prepared or self._socket.closed:
            return
        with contextlib.suppress(ConnectionError):
            await self._flush()
            await self._socket.close(code=code)

    async def _flush(self) -> None:
        for frame in self._flow.data_to_send():
            if isinstance(frame, str):
                await self._socket.send_str(frame)
            else:
                await self._socket.send_bytes(frame)


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
