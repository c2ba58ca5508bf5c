"""The open WebSockets of a server: a limited number, each with one session, of either dialect."""

import asyncio
import itertools

from aiohttp import web

from flowpi.server.connection import CLOSE_S, IDLE_S, MAX_UTTERANCE_S, Authorize, Connection, Workers
from flowpi.server.engines import Engine
from flowpi.wire.roles import ServerRole

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Four minutes of audio, or three as base64. W0 recommends one second per append and documents no limit."""


class Connections:
    """The open sessions of a server, and the workers that they share.

    Args:
        engine: the loaded recogniser.
        max_sessions: the limit of open sessions.
        idle_s, max_utterance_s: see `Connection`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_sessions: int,
        idle_s: float = IDLE_S,
        max_utterance_s: float = MAX_UTTERANCE_S,
    ) -> None:
        self._engine = engine
        self._max_sessions = max_sessions
        self._idle_s = idle_s
        self._max_utterance_s = max_utterance_s
        self._workers = Workers()
        self._numbers = itertools.count(1)
        self._sessions: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def why_full(self) -> str | None:
        """The error text for a client beyond the limit of sessions; None while a session is free."""
        full = len(self._sessions) >= self._max_sessions
        return f"all {self._max_sessions} sessions are in use" if full else None

    async def run(
        self, request: web.Request, dialect: ServerRole, authorize: Authorize, *, protocol: str | None = None
    ) -> web.WebSocketResponse:
        """Answer the upgrade and serve the session to its end. The caller has checked `why_full`.

        Args:
            dialect: the protocol of the client's service.
            authorize: checks the key in the first message.
            protocol: the sub-protocol to answer with.

        Raises:
            web.HTTPBadRequest: the request is no upgrade to a WebSocket.
        """
        socket = web.WebSocketResponse(
            timeout=CLOSE_S,
            compress=False,  # PCM does not compress, and a small frame could unpack into a gigabyte
            max_msg_size=MAX_FRAME_BYTES,
        )
        if protocol is not None:
            socket.headers["Sec-WebSocket-Protocol"] = protocol
        session = Connection(
            next(self._numbers),
            socket,
            dialect,
            self._engine,
            self._workers,
            authorize,
            idle_s=self._idle_s,
            max_utterance_s=self._max_utterance_s,
        )
        self._sessions.add(session)
        try:
            await socket.prepare(request)
            await session.run()
        finally:
            self._sessions.discard(session)
            if socket.prepared and request.transport is not None:  # the time limit to read what was sent
                asyncio.get_running_loop().call_later(CLOSE_S, request.transport.abort)
        return socket

    async def close(self) -> None:
        """End every session with code 1001 (going away), within a few seconds."""
        if self._sessions:
            await asyncio.wait([asyncio.create_task(session.dismiss()) for session in self._sessions])

    def close_workers(self) -> None:
        """Stop the workers; call it once no session is left."""
        self._workers.close()
