"""The transcription server: the endpoints of both services in front of one engine, on every listen address.

Theory of operation. `Middleware` sees every request first, `Authenticator` checks the keys, `FlowEndpoints` and
`SukiEndpoints` parse requests and authenticate the client, `Connections` runs a dictation from upgrade to close. One
connection is one utterance: a `Connection` passes frames to a dialect without I/O and audio to a `Transcription`,
whose work runs on `Workers`.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from aiohttp import web

from flowpi.core.errors import UsageError
from flowpi.server.auth import Authenticator
from flowpi.server.connection import CLOSE_S, IDLE_S, MAX_UTTERANCE_S
from flowpi.server.connections import Connections
from flowpi.server.engines import Engine, load_engine
from flowpi.server.flow import FlowEndpoints
from flowpi.server.listeners import Listener, TcpAddress, parse_address
from flowpi.server.middleware import (
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    REQUEST_S,
    Middleware,
)
from flowpi.server.suki import SukiEndpoints

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
        max_sessions: the limit of open sessions; further clients are answered with HTTP 503.
        idle_s: the time after which a client that sends no message is disconnected.
        max_utterance_s: the limit of audio in one session.
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
        idle_s: float = IDLE_S,
        max_utterance_s: float = MAX_UTTERANCE_S,
    ) -> None:
        access = access or Authenticator()
        check_addresses(listen, access)
        self._addresses = [parse_address(text) for text in listen]
        self._tls = tls
        self._listeners: list[Listener] = []
        self._accepting: list[asyncio.Server] = []
        self._sockets = Connections(engine, max_sessions=max_sessions, idle_s=idle_s, max_utterance_s=max_utterance_s)
        self._local, self._remote = (_Door(keys, self._sockets, strict=strict) for keys in (Authenticator(), access))

    @property
    def urls(self) -> list[str]:
        """The base URLs of the server, in the order of `listen`; append the path of an endpoint."""
        return [listener.url for listener in self._listeners]

    @property
    def sessions(self) -> int:
        """The number of open sessions."""
        return len(self._sockets)

    async def __aenter__(self) -> "Server":
        """Open the listeners and accept clients.

        Raises:
            AlreadyRunning, CannotCreateError, NoPermissionError: see `Listener`.
        """
        try:
            for address in self._addresses:
                self._listeners.append(Listener(address, secure=self._tls is not None))
            for door in (self._local, self._remote):
                await door.runner.setup()
            for listener in self._listeners:
                await self._accept(listener)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _accept(self, listener: Listener) -> None:
        door = self._local if listener.socket.family is socket.AF_UNIX else self._remote
        http = door.runner.server
        assert http is not None

        def connection() -> asyncio.Protocol:
            protocol: web.RequestHandler = http()
            door.guard.expect_request(protocol)
            return protocol

        tls = self._tls if listener.secure else None
        server = await asyncio.get_running_loop().create_server(
            connection, sock=listener.socket, ssl=tls, ssl_handshake_timeout=REQUEST_S if tls else None
        )
        self._accepting.append(server)

    async def _close(self) -> None:
        # Stop accepting before the sessions end, so that none begins meanwhile; the workers last, as sessions use them.
        for server in self._accepting:
            server.close()
        for listener in self._listeners:
            listener.close()
        await self._sockets.close()
        for door in (self._local, self._remote):
            await door.runner.cleanup()
            door.guard.close()
        self._sockets.close_workers()


class _Door:
    """The HTTP application for clients that need the same keys: one for TCP, one for Unix sockets."""

    def __init__(self, access: Authenticator, sockets: Connections, *, strict: bool) -> None:
        self.guard = Middleware(is_open=access.is_open)
        app = web.Application(middlewares=[self.guard.middleware], client_max_size=MAX_BODY_BYTES)
        for endpoints in (FlowEndpoints, SukiEndpoints):
            app.add_routes(endpoints(access, sockets, strict=strict).routes())
        self.runner = web.AppRunner(
            app,
            access_log=None,  # it would log the keys in the query
            shutdown_timeout=CLOSE_S,
            keepalive_timeout=KEEP_ALIVE_S,
            lingering_time=CLOSE_S,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )


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
    *,
    access: Authenticator | None = None,
    tls: "ssl.SSLContext | None" = None,
    strict: bool = False,
    max_sessions: int = 16,
    ready: Callable[[], None] | None = None,
) -> None:
    """Run a transcription server until cancelled; it then closes within a few seconds.

    Args:
        listen, access, tls, strict, max_sessions: see `Server`.
        engine_name: a key of `ENGINES`.
        ready: called once the engine is loaded and every address is listening.

    Raises:
        UsageError: an address or the name of the engine is wrong.
        EngineUnavailable: the engine cannot be loaded on this machine.
        AlreadyRunning, CannotCreateError, NoPermissionError: the server cannot listen on an address.
    """
    access = access or Authenticator()
    check_addresses(listen, access)  # first: a typing error is reported without waiting for the engine to load
    engine = await asyncio.to_thread(load_engine, engine_name)
    async with Server(listen, engine, access=access, tls=tls, strict=strict, max_sessions=max_sessions) as server:
        log.info("serving %s on %s", engine_name, ", ".join(server.urls))
        if ready:
            ready()
        await asyncio.get_running_loop().create_future()  # never done: wait to be cancelled
