"""The transcription server: the endpoints of both services in front of one engine, on every listen address.

Theory of operation. `Acceptor` accepts connections, `Middleware` sees every request first, `Authenticator` checks the
keys, `FlowEndpoints` and `SukiEndpoints` parse requests and authenticate the client, `Connections` runs a dictation
from upgrade to close. One connection is one utterance: a `Connection` passes frames, which `FrameGate` has checked, to
a dialect without I/O and audio to a `Transcription`, whose work runs on `Workers`.
"""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from aiohttp import web

from flowpi.core.errors import UsageError
from flowpi.host.memory import give_back
from flowpi.server.acceptor import Acceptor, Seat, connection_limit
from flowpi.server.auth import Authenticator
from flowpi.server.connection import CLOSE_S, IDLE_S, MAX_UTTERANCE_S
from flowpi.server.connections import Connections
from flowpi.server.engines import Engine, Measuring, load_engine
from flowpi.server.flow import FlowEndpoints
from flowpi.server.http import REQUEST_S, HttpConnection
from flowpi.server.listeners import Listener, TcpAddress, parse_address
from flowpi.server.memory import GIVE_BACK_S, Leftovers
from flowpi.server.middleware import MAX_BODY_BYTES, Middleware
from flowpi.server.model_files import INSTALLED, Models
from flowpi.server.suki import SukiEndpoints
from flowpi.server.workers import Lane, Workers

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)


class Server:
    """A transcription server that listens while its context is entered.

        async with Server(["127.0.0.1:0"], load_engine("echo")) as server:
            server.urls  # ["ws://127.0.0.1:40123"]

    Leaving the context ends every session with close code 1001 (going away), within a few seconds.

    Args:
        listen: addresses, HOST:PORT (port 0: any free port) or unix:PATH.
        engine: the loaded recogniser.
        access: the keys that clients on HOST:PORT need; None accepts any key, and allows only loopback addresses.
            Clients on a Unix socket need no key.
        tls: the TLS context of HOST:PORT; None: plain text. Unix sockets are always plain text.
        strict: accept only the documented form of the dialects.
        max_sessions: the limit of open sessions on HOST:PORT, and again on Unix sockets; further clients are answered
            with HTTP 503.
        vocabulary: names and words to listen for in every session, before those that the client sends.
        idle_s: the time after which a client that sends no message is disconnected.
        max_utterance_s: the limit of audio in one session.
        give_back_s: see `Leftovers`.
    """

    def __init__(
        self,
        listen: Sequence[str],
        engine: Engine,
        *,
        access: Authenticator | None = None,
        tls: "ssl.SSLContext | None" = None,
        strict: bool = False,
        max_sessions: int = 16,
        vocabulary: Sequence[str] = (),
        idle_s: float = IDLE_S,
        max_utterance_s: float = MAX_UTTERANCE_S,
        give_back_s: float = GIVE_BACK_S,
    ) -> None:
        access = access or Authenticator()
        check_addresses(listen, access)
        self._addresses = [parse_address(text) for text in listen]
        self._tls = tls
        self._listeners: list[Listener] = []
        self._workers = Workers()
        self._leftovers = Leftovers(self._give_back, give_back_s)
        numbers = itertools.count(1)

        def door(keys: Authenticator, *, local: bool) -> _Door:
            connections = Connections(
                engine,
                self._workers,
                numbers,
                local=local,
                max_sessions=max_sessions,
                ended=self._leftovers.session_ended,
                vocabulary=tuple(vocabulary),
                idle_s=idle_s,
                max_utterance_s=max_utterance_s,
            )
            return _Door(keys, connections, strict=strict)

        self._local, self._remote = door(Authenticator(), local=True), door(access, local=False)

    @property
    def urls(self) -> list[str]:
        """The base URLs of the server, in the order of `listen`; append the path of an endpoint."""
        return [listener.url for listener in self._listeners]

    @property
    def sessions(self) -> int:
        """The number of open sessions."""
        return len(self._local.connections) + len(self._remote.connections)

    async def __aenter__(self) -> "Server":
        """Open the listeners and accept clients.

        Raises:
            AlreadyRunning, CannotCreateError, NoPermissionError: see `Listener`.
        """
        try:
            for address in self._addresses:
                self._listeners.append(Listener(address, secure=self._tls is not None))
            for door in (self._local, self._remote):
                await door.open()
            for listener in self._listeners:
                door = self._local if listener.socket.family is socket.AF_UNIX else self._remote
                door.listen(listener.socket, self._tls if listener.secure else None)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        # Stop accepting before the sessions end, so that none begins meanwhile; the workers last, as sessions use them.
        doors = self._local, self._remote
        for door in doors:
            door.stop_accepting()
        for listener in self._listeners:
            listener.close()
        await asyncio.gather(*(door.connections.close() for door in doors))
        for door in doors:
            await door.close()
        await self._leftovers.close()
        self._workers.close()

    async def _give_back(self) -> None:
        # Not on a thread of a low priority: others must not wait long for memory.
        await self._workers.run(Lane.FINAL, give_back, local=False)


class _Door:
    """The HTTP application for clients that need the same keys: one for TCP, one for Unix sockets.

    Each door has connections and sessions of its own, so that a crowd at one does not keep clients from the other.
    """

    def __init__(self, access: Authenticator, connections: Connections, *, strict: bool) -> None:
        self.connections = connections
        guard = Middleware(is_open=access.is_open)
        app = web.Application(middlewares=[guard.middleware], client_max_size=MAX_BODY_BYTES)
        for endpoints in (FlowEndpoints, SukiEndpoints):
            app.add_routes(endpoints(access, connections, strict=strict).routes())
        self._runner = web.AppRunner(app, shutdown_timeout=CLOSE_S)
        self._acceptor: Acceptor | None = None

    async def open(self) -> None:
        await self._runner.setup()
        http = self._runner.server
        assert http is not None

        def connection(seat: Seat) -> HttpConnection:
            return HttpConnection(http, seat)

        self._acceptor = Acceptor(connection, limit=connection_limit(), handshake_s=REQUEST_S, shutdown_s=CLOSE_S)

    def listen(self, listener: socket.socket, tls: "ssl.SSLContext | None") -> None:
        assert self._acceptor is not None
        self._acceptor.listen(listener, tls)

    def stop_accepting(self) -> None:
        if self._acceptor is not None:
            self._acceptor.close()

    async def close(self) -> None:
        await self._runner.cleanup()


def check_addresses(listen: Sequence[str], access: Authenticator) -> None:
    """Check the listen addresses against the keys.

    Raises:
        UsageError: an address cannot be parsed, or is reachable from other machines although no keys are set.
    """
    for text in listen:
        address = parse_address(text)
        if access.is_open and isinstance(address, TcpAddress) and not address.is_loopback:
            raise UsageError(
                f"listen address {text!r} is open to other machines, and no keys are set",
                f"set server.api_keys or server.partners, or listen on 127.0.0.1:{address.port} or unix:PATH",
            )


async def serve(
    listen: Sequence[str],
    engine_name: str,
    models: Models = INSTALLED,
    *,
    access: Authenticator | None = None,
    tls: "ssl.SSLContext | None" = None,
    strict: bool = False,
    max_sessions: int = 16,
    vocabulary: Sequence[str] = (),
    ready: Callable[[], None] | None = None,
    status: Callable[[str], None] | None = None,
) -> None:
    """Run a transcription server until cancelled; it then closes within a few seconds.

    Args:
        listen, access, tls, strict, max_sessions, vocabulary: see `Server`.
        engine_name: a key of `ENGINES`, or `AUTO`.
        models: the models to load; by default those that are installed.
        ready: called once the engine is loaded and every address is listening.
        status: called a moment later with a line that says which models speak, and how fast they are here.

    Raises:
        UsageError: an address or the name of the engine is wrong.
        EngineUnavailable: the engine cannot be loaded on this machine.
        AlreadyRunning, CannotCreateError, NoPermissionError: the server cannot listen on an address.
    """
    access = access or Authenticator()
    check_addresses(listen, access)  # first: a typing error is reported without waiting for the engine to load
    engine = await asyncio.to_thread(load_engine, engine_name, models)
    server = Server(
        listen, engine, access=access, tls=tls, strict=strict, max_sessions=max_sessions, vocabulary=vocabulary
    )
    async with server:
        log.info("serving %s on %s, up to %d sessions", engine_name, ", ".join(server.urls), max_sessions)
        if ready:
            ready()
        if isinstance(engine, Measuring):  # after READY, which must not wait for it
            chosen = await asyncio.to_thread(engine.measure)
            log.info("recognises with %s", chosen)
            if status:
                status(chosen)
        await asyncio.to_thread(give_back)  # loading a model leaves 20 MB
        await asyncio.get_running_loop().create_future()  # never done: wait to be cancelled
