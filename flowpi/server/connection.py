"""One client on one connection: frames in, audio to a recogniser on worker threads, texts out.

Workers are two small pools, so that a final never queues behind the interim texts of others; where both run, the
interim ones are nicer. Nothing of an engine ever runs on the loop.

A client that sends faster than its audio is heard is not read until a minute of it is left; TCP tells it. While the
text is made after the end of the audio the client is read on: its pings are answered, and if it leaves it is noticed.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, assert_never

from aiohttp import WSMessage, WSMsgType, web

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine
from flowpi.server.transcription import Transcription
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientProtocolError,
    ServerEvent,
    ServerRole,
    SessionRequested,
)

Result = TypeVar("Result")

Authorize = Callable[[str | None], str | None]
"""What is wrong with the key in the first message, or None."""

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 60 * RATE_HZ * FRAME_BYTES
INTERIM_NICENESS = 5

MAX_UTTERANCE_S = 3600.0
"""Ours; the services' pages name six minutes as what is safe with them."""

IDLE_S = 60.0
"""A client that sends no message for so long gives its place to others, however often it pings."""

CLOSE_S = 2.0
"""How long a client may take to read what is due, and again to answer a close."""


FIRST_S = 10.0
"""Whoever does not open a session within so long, with a key where one is wanted, leaves the place to others."""


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


class Connection:
    """One client on one connection.

    Args:
        number: for the log.
        authorize: looks at the key that came in the first message.
        idle_s, max_utterance_s: see `IDLE_S` and `MAX_UTTERANCE_S`.
    """

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        dialect: ServerRole,
        engine: Engine,
        workers: Workers,
        authorize: Authorize,
        *,
        idle_s: float = IDLE_S,
        max_utterance_s: float = MAX_UTTERANCE_S,
    ) -> None:
        self._number = number
        self._socket = socket
        self._dialect = dialect
        self._engine = engine
        self._workers = workers
        self._authorize = authorize
        self._idle_s = idle_s
        self._max_utterance_s = max_utterance_s
        self._transcription: Transcription | None = None
        self._audio_waits = asyncio.Event()
        self._audio_taken = asyncio.Event()
        self._interim: asyncio.Task[None] | None = None
        self._conclusion: asyncio.Task[str] | None = None
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
            await self._break_off("broken")
        finally:
            await self._end(self._conclusion)
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
        await self._handle(self._dialect.open())
        while True:
            message = await self._next_message()
            if message is None:
                await self._send_final_text()
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            try:
                await self._handle(self._dialect.receive(message.data))
            except ClientProtocolError as departure:
                self._outcome = f"refused ({departure})"
                await self._close(departure.close_code)

    async def _next_message(self) -> WSMessage | None:
        """None once the final text is there. A ping is answered, and no message; who waits need not say anything."""
        if self._conclusion is None:
            async with asyncio.timeout(self._idle_s if self._transcription else min(self._idle_s, FIRST_S)):
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
        asked = [tag.replace("_", "-").partition("-")[0].lower() for tag in request.language]
        if asked and self._engine.language not in asked:
            await self._fail(f"language: this server understands {self._engine.language}", 1008)
            return
        self._transcription = Transcription(self._engine, asked)
        self._interim = asyncio.create_task(self._send_interim_texts(self._transcription), name="interim texts")
        self._dialect.accept()

    async def _hear(self, pcm: bytes) -> None:
        transcription = self._open_transcription
        if transcription.heard_s + len(pcm) / FRAME_BYTES / RATE_HZ > self._max_utterance_s:
            await self._fail(f"audio: more than {self._max_utterance_s:g} s in one utterance", 1008)
            return
        transcription.add(pcm)
        self._audio_waits.set()
        while transcription.waiting_bytes > MAX_WAITING_BYTES and self._interim and not self._interim.done():
            self._audio_taken.clear()
            await self._audio_taken.wait()

    async def _conclude(self) -> str:
        await self._end_interim()
        return await self._workers.final(self._open_transcription.conclude)

    async def _send_final_text(self) -> None:
        assert self._conclusion is not None
        if self._socket.closed:
            return
        self._dialect.final(self._conclusion.result(), self._engine.language)
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
                    self._dialect.partial(text, self._engine.language)
                    await self._flush()
        except ConnectionError:
            pass  # the handler learns it too
        except Exception:
            await self._break_off("the engine failed")
        finally:
            self._audio_taken.set()

    async def _end_interim(self) -> None:
        if self._transcription:
            self._transcription.hurry()
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
        """Send what is due and close; nothing, where that is done or the client is gone."""
        if not self._socket.prepared or self._socket.closed:
            return
        with contextlib.suppress(ConnectionError, TimeoutError):
            try:
                async with asyncio.timeout(CLOSE_S):  # one that reads nothing must not keep its place
                    await self._flush()
            finally:
                await self._socket.close(code=code, drain=False)

    async def _flush(self) -> None:
        for frame in self._dialect.data_to_send():
            if isinstance(frame, str):
                await self._socket.send_str(frame)
            else:
                await self._socket.send_bytes(frame)
