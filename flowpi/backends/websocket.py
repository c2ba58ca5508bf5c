"""A WebSocket as a `Stream`.

A dead link does not fail by itself: the kernel accepts a second and a half of audio and waits for a quarter of an hour.
So something is always on its way (audio, then pings), and a `Link` gives up when none of it is acknowledged. Nobody
waits for a pong: a server that is busy with a long text sends none, but its kernel acknowledges.
"""

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowpi.backends.errors import reason_of
from flowpi.backends.link import UNACKNOWLEDGED_S, Link
from flowpi.backends.patience import Patience
from flowpi.backends.proxies import bypasses_proxy
from flowpi.backends.stream import StreamClosed
from flowpi.core.errors import LinkLost, ProtocolError
from flowpi.wire.codec import MAX_FRAME_BYTES, Frame

if TYPE_CHECKING:
    import ssl

    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed

RECEIVE_BUFFER_BYTES = 16 * 1024
"""The kernel's, which doubles it: the most that the loop may have to parse at once. A frame can be two bytes, and a
text is under 10 KB; the 256 KiB that asyncio reads at once would hold the loop for a second and take 40 MB."""

HAPPY_EYEBALLS_S = 0.25
"""RFC 8305: how long one address has before the next is tried beside it."""

GIVEN_UP = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)
"""What the kernel of this machine ends an open connection with; a peer that ends it leaves ECONNRESET or EPIPE."""

HTTP_1_0, HTTP_1_1 = b"HTTP/1.0 ", b"HTTP/1.1 "

_silent = logging.getLogger("flowpi.websockets")
# At DEBUG the library logs what is said: URLs with keys, keys, and the words of a dictation.
_silent.setLevel(logging.INFO)


class WebSocketStream:
    """An open WebSocket: see `Stream`."""

    def __init__(self, connection: "ClientConnection", close_s: float) -> None:
        """`close_s`: how long the goodbye may take."""
        self._connection = connection
        self._link = Link(connection.transport)
        self._close_s = close_s

    async def send(self, frame: Frame) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            with self._link.watched():
                await self._connection.send(frame)
        except ConnectionClosed as closed:
            raise _stream_closed(closed) from None

    async def receive(self) -> Frame:
        from websockets.exceptions import ConnectionClosed

        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            _raise_if_ours(closed)
            self._raise_if_lost(closed)
            raise _stream_closed(closed) from None

    def untaken_bytes(self) -> int:
        return self._link.untaken_bytes()

    async def keep_alive(self) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            with self._link.watched():
                if not self._link.untaken_bytes():  # else something is on its way, and a ping might wait behind it
                    await self._connection.ping()  # and no pong is awaited
        except ConnectionClosed as closed:
            raise _stream_closed(closed) from None

    async def close(self) -> None:
        try:
            async with asyncio.timeout(self._close_s):  # the library's own begins only once all audio is sent
                await self._connection.close()
        except TimeoutError:
            self._connection.transport.abort()

    async def wait_closed(self) -> None:
        await self._connection.wait_closed()

    def _raise_if_lost(self, closed: "ConnectionClosed") -> None:
        """Raise LinkLost if this machine gave the connection up, so that it was not the server that closed it."""
        if self._link.dead:
            raise LinkLost(f"nothing was acknowledged for {UNACKNOWLEDGED_S:g} s") from None
        cause = closed.__cause__
        if isinstance(cause, OSError) and cause.errno in GIVEN_UP:
            raise LinkLost(reason_of(cause)) from None


async def connect_websocket(
    url: str, *, headers: Mapping[str, str], unix: str | None, tls: "ssl.SSLContext | None", patience: Patience
) -> WebSocketStream:
    """Open a WebSocket. `url`: ws or wss, with its credentials. `unix`: through the socket of this path.

    Raises:
        OSError, TimeoutError, ImportError, UnicodeError, WebSocketException: as the library has them.
    """
    options: dict[str, Any] = {
        "additional_headers": headers,
        "compression": None,  # PCM does not compress, and a frame of zeros must not become a gigabyte
        "max_size": MAX_FRAME_BYTES,
        "max_queue": 2,  # frames that wait to be read; each may be as large as that
        "open_timeout": patience.connect_s,
        "close_timeout": patience.close_s,
        "ping_interval": None,  # a session pings while it waits: while it sends, the audio does as well
        "logger": _silent,
    }
    if unix:
        options |= {"unix": True, "path": unix}
    else:
        host = urlsplit(url).hostname or ""
        if not _is_address(host):
            options["happy_eyeballs_delay"] = HAPPY_EYEBALLS_S
        if bypasses_proxy(host):
            options["proxy"] = None
    if tls is not None:
        options["ssl"] = tls
    return WebSocketStream(await _connector()(url, **options), patience.close_s)


def _stream_closed(closed: "ConnectionClosed") -> StreamClosed:
    """Only what the peer said counts: a code that the library sent is not the peer's reason."""
    return StreamClosed(closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else StreamClosed(None)


def _raise_if_ours(closed: "ConnectionClosed") -> None:
    """Raise ProtocolError if the library closed the connection because of what the server sent."""
    if closed.sent is None or closed.rcvd_then_sent:
        return
    if closed.sent.code == 1009:
        raise ProtocolError(f"the server sent a message of more than {MAX_FRAME_BYTES // 1024} KiB") from None
    if closed.sent.code in (1002, 1007):
        raise ProtocolError("the server does not keep to the WebSocket protocol") from None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@cache
def _connector() -> "Callable[..., connect]":
    from websockets.asyncio.client import ClientConnection, connect

    class WatchedConnection(ClientConnection):
        _beginning: bytes | None = b""
        """What came so far, as long as it may be the beginning of an answer in HTTP/1.0."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            raw: socket.socket = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            """Read an answer in HTTP/1.0 as one in 1.1, which the library demands: status, `Retry-After` and the words
            of a proxy or a load balancer mean the same. Let the library see at once that an answer is no HTTP: in
            another protocol, such as an alert of TLS, a line may never end."""
            if self._beginning is not None:
                data = self._beginning + data
                if len(data) < len(HTTP_1_0) and HTTP_1_0.startswith(data):
                    self._beginning = data
                    return
                self._beginning = None
                if data.startswith(HTTP_1_0):
                    data = HTTP_1_1 + data.removeprefix(HTTP_1_0)
                elif not data.startswith(HTTP_1_0[:5]):
                    data += b"\r\n"
            super().data_received(data)

    class Connect(connect):
        def process_redirect(self, exc: Exception) -> Exception:
            return exc

    return partial(Connect, create_connection=WatchedConnection)
