"""Accepts connections: a limited number, so that a crowd costs neither the descriptors nor the log.

Theory of operation. `asyncio.create_server` accepts whatever comes; without free descriptors it logs a hundred
tracebacks a try. An `Acceptor` accepts a few connections a turn of the loop, and at its limit closes the connection
that has been waiting longest without showing a key: so connections that only wait keep nobody out. One that has shown
a key is never closed for others.
"""

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowpi.server.untrusted import log

if TYPE_CHECKING:
    import ssl

MAX_CONNECTIONS = 256
"""The limit of the connections of one door: a connection costs up to some 100 KB before its first request."""
RESERVED_FILES = 64
"""The descriptors that connections leave free: the model, the listeners, the standard streams and the loop need 20,
and each door accepts up to `ACCEPTS_A_TURN` connections before a closed one has given back its descriptor."""
ACCEPTS_A_TURN = 16
RETRY_S = 1.0
"""The time without accepting after the system refused a descriptor."""

NO_ROOM = errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM


def connection_limit() -> int:
    """Return the limit of the connections of one of the two doors, from the process's limit of descriptors."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (files - RESERVED_FILES) // 2))


class Seat:
    """The claim of one connection to be open.

    Attributes:
        transport: the transport, once there is one.
    """

    def __init__(self, acceptor: "Acceptor", connection: socket.socket) -> None:
        self.transport: asyncio.Transport | None = None
        self._acceptor = acceptor
        self._connection = connection

    def keep(self) -> None:
        """Keep the connection open whatever crowd comes, because its client has shown a key."""
        self._acceptor.keep(self)

    def leave(self) -> None:
        """Give the seat back: the connection is closed."""
        self._acceptor.leave(self)

    def evict(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()
        else:  # its TLS handshake is in progress, and notices the end
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class Acceptor:
    """Accepts the connections of one door, on any number of listening sockets.

    Args:
        make: returns the protocol for a new connection.
        limit: the limit of open connections.
        handshake_s: the time limit of a TLS handshake.
        shutdown_s: the time limit for a client to answer the end of TLS.
    """

    def __init__(
        self, make: Callable[[Seat], asyncio.Protocol], *, limit: int, handshake_s: float, shutdown_s: float
    ) -> None:
        self._make = make
        self._limit = limit
        self._handshake_s = handshake_s
        self._shutdown_s = shutdown_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Seat, None] = {}  # oldest first
        self._kept: set[Seat] = set()
        self._listeners: list[socket.socket] = []
        self._opening: set[asyncio.Task[None]] = set()

    def listen(self, listener: socket.socket, tls: "ssl.SSLContext | None" = None) -> None:
        """Accept connections from `listener` until `close`."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._loop.add_reader(listener, self._accept, listener, tls)

    def close(self) -> None:
        """Accept no more. What is open stays open, but for TLS handshakes in progress."""
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        self._listeners.clear()
        for task in self._opening:
            task.cancel()

    def keep(self, seat: Seat) -> None:
        if seat in self._waiting:
            del self._waiting[seat]
            self._kept.add(seat)

    def leave(self, seat: Seat) -> None:
        self._waiting.pop(seat, None)
        self._kept.discard(seat)

    def _accept(self, listener: socket.socket, tls: "ssl.SSLContext | None") -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                log.warning("no connection can be accepted (%s): more are tried each second", error.strerror)
                self._loop.remove_reader(listener)
                self._loop.call_later(RETRY_S, self._go_on, listener, tls)
                return
            connection.setblocking(False)
            self._seat(connection, tls)

    def _go_on(self, listener: socket.socket, tls: "ssl.SSLContext | None") -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener, tls)

    def _seat(self, connection: socket.socket, tls: "ssl.SSLContext | None") -> None:
        if len(self._waiting) + len(self._kept) >= self._limit:
            log.warning("all %d connections are in use: the one that waited longest is closed", self._limit)
            if not self._waiting:
                connection.close()
                return
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.evict()
        seat = Seat(self, connection)
        self._waiting[seat] = None
        task = self._loop.create_task(self._open(seat, connection, tls), name="new connection")
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, seat: Seat, connection: socket.socket, tls: "ssl.SSLContext | None") -> None:
        times = {"ssl_handshake_timeout": self._handshake_s, "ssl_shutdown_timeout": self._shutdown_s} if tls else {}
        try:
            await self._loop.connect_accepted_socket(lambda: self._make(seat), connection, ssl=tls, **times)
        except BaseException as error:
            seat.leave()
            connection.close()
            if not isinstance(error, OSError):  # the client left, or spoke no TLS
                raise
