"""The local socket: newline-delimited JSON for the programs of this machine (docs/api.md, "The socket").

A client is a subscriber like any other. One that does not read has its messages queued up to `MAX_QUEUE_BYTES` and is
then dropped with a reason; one that sends rubbish gets an error with a reason. Neither slows anybody else.
"""

import asyncio
import contextlib
import errno
import grp
import logging
import os
import pwd
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

import flowpi
from flowpi.core.errors import AlreadyRunning, CannotCreateError
from flowpi.core.text import escaped
from flowpi.core.topics import filter_error
from flowpi.host.unix import BACKLOG, listen_unix
from flowpi.publish.hub import Hub, Message, Subscription
from flowpi.publish.messages import Problem, Request

log = logging.getLogger(__name__)

PROTOCOL = 1
MAX_LINE_BYTES = 64 * 1024
MAX_QUEUE_BYTES = 256 * 1024
MAX_CLIENTS = 1024
CLIENTS_A_TURN = 4

MAX_FILTERS = 64
"""The most filters of one client: each costs a comparison per topic, and memory while the client is connected."""

MAX_REQUESTS = 32
"""The most commands of one client that are not answered yet; more is a bug or an attack."""

DROP_S = 5.0
"""The time that a dropped client has to read the reason."""

Command = Callable[[Request], Awaitable[dict[str, Any] | Problem]]
"""A function that executes a command, and returns the members of the response or the reason of a failure."""


class LocalSocket:
    """The listening socket and its clients."""

    def __init__(self, hub: Hub, command: Command, *, path: Path, group: str | None, device_id: str) -> None:
        """
        Args:
            command: called for each command of a client.
            group: the group whose members may connect, besides the daemon's user and root. If it is None or does not
                exist, nobody else may.
        """
        self.path = path
        self._hub = hub
        self._command = command
        self._group = _group_id(group)
        self._hello = {"flowpi": flowpi.__version__, "protocol": PROTOCOL, "device_id": device_id}
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()

    async def open(self) -> None:
        """Make the socket and accept clients.

        Raises:
            AlreadyRunning: another process answers on it.
            CannotCreateError: the socket cannot be made.
        """
        try:
            listener = listen_unix(self.path, self._group)
        except FileExistsError:
            raise CannotCreateError(f"{str(self.path)!r} is in the way and no socket", "remove it") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AlreadyRunning(
                    f"another flowpi listens on {str(self.path)!r}",
                    "stop it, or set publish.socket.path and spool.directory",
                ) from None
            raise CannotCreateError(
                f"the socket {str(self.path)!r} cannot be made ({error.strerror or error})", "set publish.socket.path"
            ) from error
        # asyncio accepts up to `backlog` clients in one turn of the loop: a crowd must not delay the microphone. The
        # kernel may queue more, so `listen` is called again with its own number.
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _Client(self._hub, self._command, self._refusal, self._clients, self._hello),
            sock=listener,
            backlog=CLIENTS_A_TURN,
        )
        listener.listen(BACKLOG)

    async def close(self) -> None:
        """Send all clients the reason, stop accepting, and remove the socket. Does not wait for the clients."""
        if self._server is None:
            return
        self._server.close()
        for client in list(self._clients):
            client.drop("shutting_down", "the daemon stops")
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _refusal(self, peer: socket.socket) -> Problem | None:
        """Return why a client may not stay, or None if it may."""
        if not self._may_connect(peer):
            log.warning("a user outside the group was refused on the socket")
            return Problem("not_permitted", "only root, the daemon's user and members of its group may connect")
        if len(self._clients) >= MAX_CLIENTS:
            return Problem("too_many_clients", f"{MAX_CLIENTS} are connected")
        return None

    def _may_connect(self, peer: socket.socket) -> bool:
        """Whether the user who connected may, as the kernel reports it: the file mode alone is not enough."""
        _, uid, gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid in (0, os.geteuid()) or gid == self._group:
            return True
        if self._group is None:
            return False
        try:
            return self._group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return False


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        hub: Hub,
        command: Command,
        refusal: Callable[[socket.socket], Problem | None],
        clients: "set[_Client]",
        hello: dict[str, Any],
    ) -> None:
        """
        Args:
            refusal: returns why a client may not stay, or None.
            clients: holds the client while it is connected.
        """
        self._hub = hub
        self._command = command
        self._refusal = refusal
        self._clients = clients
        self._hello = hello
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._subscription: Subscription | None = None
        self._requests: set[asyncio.Task[None]] = set()
        self._said_all = False
        self._gone: select.epoll | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if (refusal := self._refusal(transport.get_extra_info("socket"))) is not None:
            self.drop(refusal.code, refusal.message)
            return
        self._clients.add(self)
        self._send({"hello": self._hello})

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0 and self._transport is not None:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if len(line) > MAX_LINE_BYTES:
                break
            if line.strip():
                self._receive(line)
        else:
            end = -1
        if end >= 0 or len(self._buffer) > MAX_LINE_BYTES:
            self.drop("line_too_long", f"a line is at most {MAX_LINE_BYTES} bytes")

    def eof_received(self) -> bool:
        """Leave the connection open if the client may still read responses, or messages it is subscribed to."""
        self._said_all = True
        if self._buffer.strip() and self._transport is not None:  # the last line needs no newline
            self._receive(bytes(self._buffer))
        if self._transport is None or not (self._requests or self._subscription):
            return False
        self._watch_for_its_end(self._transport)
        return True

    def _watch_for_its_end(self, transport: asyncio.Transport) -> None:
        """Notice when the client is gone. After its end of file nothing is read from it, which would show that."""
        self._gone = select.epoll()
        self._gone.register(transport.get_extra_info("socket"), 0)  # no event but a hang-up
        asyncio.get_running_loop().add_reader(self._gone, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._gone is not None:
            asyncio.get_running_loop().remove_reader(self._gone)
            self._gone.close()
        self._leave()
        for task in self._requests:
            task.cancel()

    def drop(self, code: str, message: str) -> None:
        """Send the reason and disconnect.

        What the client still sends is ignored, so that it can read the reason. After `DROP_S` the connection is cut.
        """
        transport, self._transport = self._transport, None
        self._leave()
        if transport is None:
            return
        transport.write(msgspec.json.encode({"error": Problem(code, message)}) + b"\n")
        transport.write_eof()
        asyncio.get_running_loop().call_later(DROP_S, transport.abort)

    def _leave(self) -> None:
        """End what the client has in the server and the hub. Harmless if it has ended."""
        self._clients.discard(self)
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _receive(self, line: bytes) -> None:
        """Execute one line of the client."""
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            self._send({"error": Problem("bad_request", f"not a request: {str(error)[:200]}")})
            return
        if not isinstance(request.subscribe, msgspec.UnsetType):
            self._subscribe(request.subscribe)
        elif len(self._requests) >= MAX_REQUESTS:
            self.drop("too_many_requests", f"{MAX_REQUESTS} are not answered yet")
        else:
            task = asyncio.create_task(self._answer(request), name="request")
            self._requests.add(task)
            task.add_done_callback(self._answered)

    def _subscribe(self, filters: list[str]) -> None:
        """Add filters to those of the client, or send it what is wrong with them."""
        for one in filters:
            if problem := filter_error(one):
                self._send({"error": Problem("bad_filter", f"{one[:100]!r}: {problem}")})
                return
        earlier = self._subscription
        wanted = list(dict.fromkeys([*(earlier.filters if earlier else ()), *filters]))
        if len(wanted) > MAX_FILTERS:
            self._send({"error": Problem("bad_filter", f"a client has at most {MAX_FILTERS} filters")})
            return
        self._send({"subscribed": filters})
        # The new subscription first, then the end of the old one: in between, the hub must not see a topic without a
        # subscriber, or it would stop making its messages.
        self._subscription = self._hub.subscribe(wanted, self._deliver)
        if earlier is not None:
            earlier.close()
        if self._transport is None:  # dropped meanwhile, for not reading
            self._leave()

    async def _answer(self, request: Request) -> None:
        """Execute a command and send its response."""
        answer = await self._command(request)
        if isinstance(answer, Problem):
            self._send({"response": request.request, "ok": False, "error": answer})
        else:
            self._send({"response": request.request, "ok": True, **answer})

    def _answered(self, task: asyncio.Task[None]) -> None:
        """Report a command that failed by a bug, and close a connection on which nothing is left to do."""
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a command failed", exc_info=error)
            self._send({"error": Problem("internal", "the command failed: see the journal")})
        if self._said_all and not self._requests and not self._subscription and self._transport:
            self._transport.close()

    def _deliver(self, message: Message, retained: bool) -> None:
        self._write(message.retained_line if retained else message.line)

    def _send(self, message: dict[str, Any]) -> None:
        self._write(escaped(msgspec.json.encode(message)) + b"\n")

    def _write(self, line: bytes) -> None:
        """Queue a line for the client, or drop it if too many wait."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() + len(line) > MAX_QUEUE_BYTES:
            log.warning("a client of the socket does not read, and is dropped")
            self.drop("too_slow", f"more than {MAX_QUEUE_BYTES} bytes are waiting for you")
            return
        self._transport.write(line)


def _group_id(group: str | None) -> int | None:
    """Return the number of a group, or None if there is no such group."""
    if group is None:
        return None
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        log.debug("there is no group %r: only root and this user may connect", group)
        return None
