"""One client on one connection: frames in, audio to a recogniser on worker threads, texts out.

A client that is ahead of real time waits for those that speak: see `flowpi.server.workers`.

A client that sends faster than its audio is recognised is not read while over a minute of audio waits; TCP slows it
down. While the final text is made the client is still read, so that pings are answered and a disconnect is noticed.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, assert_never

from aiohttp import WSMessage, WSMsgType, web

from flowpi.core.phrases import chosen
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine, Expected
from flowpi.server.frames import FrameGate
from flowpi.server.transcription import SLICE_BYTES, Transcription
from flowpi.server.untrusted import log as untrusted
from flowpi.server.workers import Effort, Lane, Result, Workers
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientProtocolError,
    ServerEvent,
    ServerRole,
    SessionRequested,
)

Authorize = Callable[[str | None], str | None]
"""Takes the key of the first message, if any; returns what is wrong with it, or None."""

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 60 * RATE_HZ * FRAME_BYTES

AHEAD_S = 3.0
"""A client that has sent this much more audio than time has passed since its session began does not speak but sends a
recording. What is said while the connection is made comes at once, too."""

MAX_UTTERANCE_S = 3600.0
"""Our own limit; the services document six minutes as safe."""

IDLE_S = 60.0
"""The time after which a client that sends nothing of a dictation is disconnected, even if it sends pings, or messages
of a type that its dialect passes over."""

CLOSE_S = 2.0
"""The time limit for a client to read the pending frames, and again to answer a close."""

FIRST_S = 10.0
"""The time limit for a new client to open a session, with a key if one is required, however often it speaks before."""


class Limits(NamedTuple):
    """The limits of a session: see `IDLE_S` and `MAX_UTTERANCE_S`."""

    idle_s: float = IDLE_S
    max_utterance_s: float = MAX_UTTERANCE_S


class Connection:
    """One client on one connection.

    Args:
        number: the number of the session in the log.
        socket: the WebSocket, prepared before `run`.
        gate: what the frames pass before they are read.
        dialect: the protocol of the client's service.
        authorize: checks the key in the first message.
        admit: gives the client that has shown its key a place; returns what prevents that, or None.
        vocabulary: the phrases that the server listens for; those of the client come after them.
        limits: the limits of the session.
        local: whether the client is on a Unix socket.
    """

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        gate: FrameGate,
        dialect: ServerRole,
        engine: Engine,
        workers: Workers,
        authorize: Authorize,
        admit: Callable[[], str | None],
        *,
        vocabulary: tuple[str, ...],
        limits: Limits,
        local: bool,
    ) -> None:
        self._number = number
        self._socket = socket
        self._gate = gate
        self._dialect = dialect
        self._engine = engine
        self._workers = workers
        self._authorize = authorize
        self._admit = admit
        self._vocabulary = vocabulary
        self._limits = limits
        self._local = local
        self._opened_s = self._began_s = asyncio.get_running_loop().time()
        self._deadline_s = self._began_s + min(limits.idle_s, FIRST_S)
        self._transcription: Transcription | None = None
        self._audio_waits = asyncio.Event()
        self._audio_taken = asyncio.Event()
        self._preview_wanted = asyncio.Event()
        self._alone = asyncio.Lock()  # held by the one of advance and preview that runs
        self._interim: asyncio.Task[None] | None = None
        self._conclusion: asyncio.Task[str] | None = None
        self._outcome = "client left"
        self._effort = Effort(workers.turns)

    async def run(self) -> None:
        """Serve the client from the first frame until the connection is closed."""
        try:
            await self._receive()
        except TimeoutError:
            await self._fail("idle: no message came", 1008)
        except ConnectionError:
            pass  # the client left during an answer
        except Exception:
            await self._break_off("broken")
        finally:
            # The conclusion first: once the interim task has ended it would start the final text.
            await self._end(self._conclusion)
            await self._end_interim()
            lasted_s = asyncio.get_running_loop().time() - self._began_s
            if self._transcription is None:
                untrusted.info("session %d: %s in %.1f s, before it was open", self._number, self._outcome, lasted_s)
            else:
                heard_s = self._transcription.heard_s
                log.info("session %d: %s, %.1f s of audio in %.1f s", self._number, self._outcome, heard_s, lasted_s)

    async def dismiss(self) -> None:
        """Close the connection with code 1001, because the server stops."""
        self._outcome = "server stopped"
        if self._transcription:
            self._transcription.hurry()
        await self._close(1001)

    async def _receive(self) -> None:
        await self._handle(self._dialect.open())
        while True:
            message = await self._next_message()
            if message is None:
                await self._send_final_text()
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                if self._gate.problem is not None:
                    self._outcome = f"refused ({self._gate.problem})"
                return
            try:
                with self._effort.spend():
                    events = self._dialect.receive(message.data)
                await self._handle(events)
                await self._effort.rest()
            except ClientProtocolError as departure:
                self._outcome = f"refused ({departure})"
                await self._close(departure.close_code)
                continue
            finally:
                self._gate.finish_message()
            if events and self._transcription is not None:
                self._progress()

    async def _next_message(self) -> WSMessage | None:
        """Return the next message of the client, or None once the final text is ready.

        Pings are answered but are no messages. There is no idle limit for a client that waits for its final text.
        """
        if self._conclusion is None:
            async with asyncio.timeout_at(self._deadline_s):
                return await self._socket.receive()
        receiving = asyncio.create_task(self._socket.receive(), name="receive")
        try:
            await asyncio.wait([receiving, self._conclusion], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(receiving)
        return None if receiving.cancelled() else receiving.result()

    async def _handle(self, events: list[ServerEvent]) -> None:
        for event in events:
            if self._socket.closed:
                return
            match event:
                case SessionRequested():
                    await self._begin(event)
                case AudioReceived(pcm):
                    await self._hear(pcm)
                case AudioCommitted():
                    self._conclusion = asyncio.create_task(self._conclude(), name="final text")
                case _:
                    assert_never(event)
        await self._flush()

    async def _begin(self, request: SessionRequested) -> None:
        if problem := self._authorize(request.access_token):
            await self._fail(problem, 1008)
            return
        if problem := self._admit():
            await self._fail(problem, 1013)
            return
        asked = tuple(tag.replace("_", "-").partition("-")[0].lower() for tag in request.language)
        understood = self._engine.languages
        if asked and not set(asked) & set(understood):
            await self._fail(f"language: this server understands {', '.join(understood)}", 1008)
            return
        self._transcription = Transcription(self._engine, Expected(asked, chosen(self._vocabulary, request.phrases)))
        self._interim = asyncio.create_task(self._send_interim_texts(self._transcription), name="interim texts")
        self._opened_s = asyncio.get_running_loop().time()
        self._progress()
        self._dialect.accept()

    def _progress(self) -> None:
        """Give the client of an open session another `idle_s`."""
        self._deadline_s = asyncio.get_running_loop().time() + self._limits.idle_s

    async def _hear(self, pcm: bytes) -> None:
        transcription = self._open_transcription
        if transcription.heard_s + len(pcm) / FRAME_BYTES / RATE_HZ > self._limits.max_utterance_s:
            await self._fail(f"audio: more than {self._limits.max_utterance_s:g} s in one utterance", 1008)
            return
        transcription.add(pcm)
        self._audio_waits.set()
        await self._work_off(MAX_WAITING_BYTES)

    async def _work_off(self, limit: int) -> None:
        """Wait until no more than `limit` bytes of audio wait."""
        while self._open_transcription.waiting_bytes > limit and self._interim and not self._interim.done():
            self._audio_taken.clear()
            await self._audio_taken.wait()

    async def _conclude(self) -> str:
        await self._work_off(SLICE_BYTES)  # slice by slice, so that others have their turn
        # Before the final text, so that no interim text is sent after it.
        await self._end_interim()
        return await self._work(Lane.FINAL, self._open_transcription.conclude)

    async def _work(self, lane: Lane, work: Callable[[], Result]) -> Result:
        """Run `work` of the engine in `lane`, or in that of clients that are ahead."""
        return await self._workers.run(self._due(lane), work, local=self._local)

    def _due(self, lane: Lane) -> Lane:
        time_s = asyncio.get_running_loop().time() - self._opened_s
        return Lane.AHEAD if self._open_transcription.heard_s - time_s > AHEAD_S else lane

    async def _send_final_text(self) -> None:
        assert self._conclusion is not None
        if self._socket.closed:
            return
        self._dialect.final(self._conclusion.result(), self._open_transcription.language)
        self._outcome = "final text sent"
        await self._close(1000)

    @property
    def _open_transcription(self) -> Transcription:
        assert self._transcription is not None  # the dialect accepts nothing before the auth message
        return self._transcription

    async def _send_interim_texts(self, transcription: Transcription) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._advance(transcription), name="advance")
                group.create_task(self._preview(transcription), name="preview")
        except* ConnectionError:
            pass  # `run` notices it too
        except* Exception:
            await self._break_off("the engine failed")
        finally:
            self._audio_taken.set()  # `_hear` must not wait for a task that has ended

    async def _advance(self, transcription: Transcription) -> None:
        """Recognise audio as it comes. A preview that still waits for its turn does not delay it."""
        while True:
            await self._audio_waits.wait()
            self._audio_waits.clear()
            # The lock first: it may be a preview that runs, and a thread of a better lane must not wait for that.
            async with self._alone:
                lane = Lane.SEGMENT if self._conclusion is None else Lane.FINAL
                text = await self._work(lane, transcription.advance)
                if transcription.preview_due:
                    self._preview_wanted.set()
            self._audio_taken.set()
            if transcription.waiting_bytes:
                self._audio_waits.set()
            await self._show(text)

    async def _preview(self, transcription: Transcription) -> None:
        while True:
            await self._preview_wanted.wait()
            # One does for all that were wanted before its turn. If `_advance` is at work then, that will want another.
            work = transcription.preview
            text = await self._workers.attempt(self._due(Lane.INTERIM), work, self._alone, local=self._local)
            self._preview_wanted.clear()
            await self._show(text)

    async def _show(self, text: str | None) -> None:
        if text is not None and self._conclusion is None:
            self._dialect.partial(text, self._open_transcription.language)
            await self._flush()

    async def _end_interim(self) -> None:
        if self._transcription:
            self._transcription.hurry()  # cancelling the task does not stop its worker thread
        await self._end(self._interim)

    async def _end(self, task: "asyncio.Task[Any] | None") -> None:
        if task and not task.done():
            task.cancel()
            await asyncio.wait([task])

    async def _break_off(self, why: str) -> None:
        log.exception("session %d: %s", self._number, why)
        await self._fail("internal", 1011)

    async def _fail(self, reason: str, code: int) -> None:
        self._outcome = f"failed ({reason})"
        self._dialect.fail(reason)
        await self._close(code)

    async def _close(self, code: int) -> None:
        """Send the pending frames and close; do nothing if the socket is closed or was never opened."""
        if not self._socket.prepared or self._socket.closed:
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            try:
                async with asyncio.timeout(CLOSE_S):  # a client that reads nothing must not hold its place
                    await self._flush()
            finally:
                await self._socket.close(code=code, drain=False)

    async def _flush(self) -> None:
        for frame in self._dialect.data_to_send():
            if isinstance(frame, str):
                await self._socket.send_str(frame)
            else:
                await self._socket.send_bytes(frame)
