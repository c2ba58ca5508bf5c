"""The open WebSockets of a door: a limited number, each with one session, of either dialect.

Theory of operation. A session that has shown a key has one of `max_sessions` places. One that has not, because its
key comes in the first message, waits in a small pool apart, and at most `FIRST_S`: so clients without a key keep no
place from others, and few places from each other.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import cast

from aiohttp import web

from flowpi.server.acceptor import MAX_CONNECTIONS
from flowpi.server.connection import CLOSE_S, IDLE_S, MAX_UTTERANCE_S, Authorize, Connection, Limits
from flowpi.server.engines import Engine
from flowpi.server.frames import MAX_MESSAGE_BYTES, ByteBudget, FrameGate
from flowpi.server.http import SERVER, HttpConnection
from flowpi.server.workers import Workers
from flowpi.wire.roles import ServerRole

MAX_KEYLESS = 16
"""The limit of sessions that have yet to show a key. With 64 KB each they cost little; they last seconds."""
MAX_KEYLESS_OF_ADDRESS = 8
"""The limit of those from one address, so that one machine leaves places to others."""

SESSIONS_OF_A_CPU = 30
"""The dictations that one CPU of the machine of the measurements serves with final texts inside of a second, and with
an interim text every few seconds."""


def default_sessions(cpus: int) -> int:
    """Return the limit of sessions for a server with so many CPUs: no more than there are connections for."""
    return min(SESSIONS_OF_A_CPU * cpus, MAX_CONNECTIONS - MAX_KEYLESS)


class Connections:
    """The open sessions of a door.

    Args:
        engine: the loaded recogniser.
        workers: what the sessions of all doors run on.
        numbers: the numbers of the sessions in the log.
        local: whether the door is that of the Unix sockets.
        max_sessions: the limit of sessions that have shown a key.
        ended: called at the end of each session.
        vocabulary, idle_s, max_utterance_s: see `Connection`.
    """

    def __init__(
        self,
        engine: Engine,
        workers: Workers,
        numbers: Iterator[int],
        *,
        local: bool,
        max_sessions: int,
        ended: Callable[[], None],
        vocabulary: tuple[str, ...] = (),
        idle_s: float = IDLE_S,
        max_utterance_s: float = MAX_UTTERANCE_S,
    ) -> None:
        self._engine = engine
        self._workers = workers
        self._numbers = numbers
        self._local = local
        self._max_sessions = max_sessions
        self._ended = ended
        self._vocabulary = vocabulary
        self._limits = Limits(idle_s, max_utterance_s)
        self._budget = ByteBudget()
        self._known: set[Connection] = set()
        self._keyless: dict[Connection, str | None] = {}
        """The address of each client that has yet to show a key."""

    def __len__(self) -> int:
        return len(self._known) + len(self._keyless)

    def why_full(self, request: web.Request, *, known: bool = True) -> str | None:
        """Return the error text for a client beyond the limit of sessions, or None while a session is free.

        Args:
            known: whether the client has shown a key, or needs none.
        """
        if len(self._known) >= self._max_sessions:
            return f"all {self._max_sessions} sessions are in use"
        addresses = list(self._keyless.values())
        if not known and (len(addresses) >= MAX_KEYLESS or addresses.count(request.remote) >= MAX_KEYLESS_OF_ADDRESS):
            return "too many clients have not shown a key yet"
        return None

    async def run(
        self,
        request: web.Request,
        dialect: ServerRole,
        authorize: Authorize,
        *,
        known: bool = True,
        protocol: str | None = None,
    ) -> web.WebSocketResponse:
        """Answer the upgrade and serve the session to its end. The caller has checked `why_full`.

        Args:
            authorize: checks the key in the first message.
            known: whether the client has shown a key, or needs none.
            protocol: the sub-protocol to answer with.

        Raises:
            web.HTTPBadRequest: the request is no upgrade to a WebSocket.
        """
        socket = _web_socket(protocol)
        http = cast(HttpConnection, request.protocol)
        http.gate = gate = FrameGate(self._budget, known=known)

        def admit() -> str | None:
            if session in self._keyless:
                if why := self.why_full(request):
                    return why
                del self._keyless[session]
                self._known.add(session)
                gate.admit()
                http.seat.keep()
            return None

        session = Connection(
            next(self._numbers),
            socket,
            gate,
            dialect,
            self._engine,
            self._workers,
            authorize,
            admit,
            vocabulary=self._vocabulary,
            limits=self._limits,
            local=self._local,
        )
        if known:
            self._known.add(session)
            http.seat.keep()
        else:
            self._keyless[session] = request.remote
        try:
            await socket.prepare(request)
            await session.run()
        finally:
            self._known.discard(session)
            self._keyless.pop(session, None)
            gate.close()
            self._ended()
            if socket.prepared and request.transport is not None:  # the time limit to read what was sent
                asyncio.get_running_loop().call_later(CLOSE_S, request.transport.abort)
        return socket

    async def close(self) -> None:
        """End every session with code 1001 (going away), within a few seconds."""
        if sessions := [*self._known, *self._keyless]:
            await asyncio.wait([asyncio.create_task(session.dismiss()) for session in sessions])


def _web_socket(protocol: str | None) -> web.WebSocketResponse:
    """Return the answer to an upgrade. `protocol`: the sub-protocol to answer with."""
    socket = web.WebSocketResponse(
        timeout=CLOSE_S,
        compress=False,  # PCM does not compress, and a small frame could unpack into a gigabyte
        max_msg_size=MAX_MESSAGE_BYTES + 1,  # the parser refuses what is as large; `FrameGate` what is larger
    )
    socket.headers["Server"] = SERVER
    if protocol is not None:
        socket.headers["Sec-WebSocket-Protocol"] = protocol
    return socket
