"""The socket of a paho client: bytes to and from the broker, on the event loop.

paho opens its socket itself, which blocks: it resolves the name, connects, and shakes hands for TLS and WebSocket. Here
the loop does all that, and paho is handed a `Link`, which has the methods of a socket that paho calls. Only whole
packets come in, so paho never waits for the rest of one.
"""

import asyncio
import ssl
from collections.abc import Callable

from flowpi.core.errors import SinkError
from flowpi.publish.mqtt.endpoint import Endpoint
from flowpi.publish.mqtt.packets import BadStream, PacketSplitter

OPEN_S = 15.0
"""The longest time for the address, the connection and the handshakes together."""

PROBE_S = 2.0
"""The longest time to find out whether anybody is there."""

PACKETS_A_TURN = 16
"""The most packets that are read in one turn of the loop, which also carries the sound: paho takes 30 us for each."""

HAPPY_EYEBALLS_S = 0.25
"""RFC 8305: how long one address has before the next is tried beside it."""


class Link(asyncio.Protocol):
    """A connection that carries MQTT as it is: TCP, TLS or a Unix socket.

    Attributes:
        opened: done once MQTT may be sent; an error if the handshake failed.
        nonsense: what the broker sent that is no MQTT, if the connection was ended for that.
    """

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())  # nobody may ask
        self.nonsense: BadStream | None = None
        self._transport: asyncio.Transport | None = None
        self._undecoded = bytearray()
        self._splitter = PacketSplitter()
        self._next_turn: asyncio.Handle | None = None
        """Reads what was too much for one turn of the loop. Until then nothing more is read from the socket."""
        self._is_lost = False
        self._received = bytearray()
        self._at_end = False
        self._on_readable: Callable[[], None] = lambda: None
        self._screen: Callable[[bytes], bytes] = bytes

    def start_reading(self, on_readable: Callable[[], None], screen: Callable[[bytes], bytes]) -> None:
        """Call `on_readable` after each turn of reading, and when `recv` has the end to return.

        `screen`: returns what paho reads in place of a packet.
        """
        self._on_readable = on_readable
        self._screen = screen

    @property
    def readable(self) -> bool:
        """Whether `recv` returns something now, and not the end."""
        return bool(self._received)

    @property
    def unsent_bytes(self) -> int:
        """How much the broker has not taken yet, beyond what the kernel holds."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self) -> None:
        """End the connection at once. What is not sent is lost, and nothing more is received."""
        self._read_no_more()
        if self._transport is not None:
            self._transport.abort()

    # What paho calls of a socket

    def recv(self, most: int) -> bytes:
        """Return what has come, or nothing at the end. Raises BlockingIOError if nothing has come."""
        if not self._received and not self._at_end:
            raise BlockingIOError
        data = bytes(self._received[:most])
        del self._received[:most]
        return data

    def send(self, data: bytes | bytearray) -> int:
        """Hand over all of the data. Raises BrokenPipeError if the connection has ended."""
        if self._transport is None or self._transport.is_closing():
            raise BrokenPipeError
        self._transport.write(self._framed(bytes(data)))
        return len(data)

    def close(self) -> None:
        """End the connection when what was sent has left. Nothing more is received."""
        self._read_no_more()
        self._close_transport()

    def fileno(self) -> int:
        return -1  # the loop waits for the socket, not paho

    def setblocking(self, flag: bool) -> None:
        """Do nothing: a link never blocks."""

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._begin()

    def data_received(self, data: bytes) -> None:
        self._undecoded += data
        if self._next_turn is None:
            self._work_off()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionResetError())
        self._is_lost = True
        if self._next_turn is None:  # else the end comes after what was received before it
            self._at_end = True
            self._on_readable()

    # What a WebSocket does otherwise

    def _begin(self) -> None:
        self.opened.set_result(None)

    def _framed(self, data: bytes) -> bytes:
        return data

    def _decoded(self) -> bytes:
        """Remove what one turn of the loop may decode from `_undecoded`, and return its bytes of MQTT."""
        data = bytes(self._undecoded)
        self._undecoded.clear()
        return data

    # Turns of the loop

    def _work_off(self) -> None:
        """Read as many packets as one turn of the loop may, and have the rest read in the next turns."""
        self._next_turn = None
        more = False
        try:
            packets = self._splitter.receive(self._decoded(), PACKETS_A_TURN)
            more = bool(self._undecoded) or len(packets) == PACKETS_A_TURN
            for packet in packets:
                self._received += self._screen(packet)
        except BadStream as error:
            self.nonsense = error
            self._at_end = True
            self.abort()
            more = False
        assert self._transport is not None
        if more:
            self._transport.pause_reading()
            self._next_turn = asyncio.get_running_loop().call_soon(self._work_off)
        elif self._is_lost:
            self._at_end = True
        else:
            self._transport.resume_reading()
        self._on_readable()  # last: it may end the connection, and with it the next turn

    def _close_transport(self) -> None:
        """End the connection when what was sent has left. What came before is still read.

        Once: that of TLS is unusable after a second `close`, and then not even `abort` ends it.
        """
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()

    def _read_no_more(self) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None


async def open_link(endpoint: Endpoint, tls: ssl.SSLContext | None) -> Link:
    """Connect to a broker, with all handshakes below MQTT. Raises SinkError."""
    make: Callable[[], Link] = Link
    if endpoint.websocket:
        from flowpi.publish.mqtt.websocket_link import WebSocketLink

        def make() -> Link:
            return WebSocketLink(endpoint)

    loop = asyncio.get_running_loop()
    link: Link | None = None
    try:
        async with asyncio.timeout(OPEN_S):
            if endpoint.scheme == "unix":
                _, link = await loop.create_unix_connection(make, endpoint.host)
            else:
                _, link = await loop.create_connection(
                    make, endpoint.host, endpoint.port, ssl=tls, happy_eyeballs_delay=HAPPY_EYEBALLS_S
                )
            await link.opened
    except BaseException as error:
        if link is not None:
            link.abort()
        if isinstance(error, SinkError | asyncio.CancelledError) or not isinstance(error, Exception):
            raise
        raise endpoint.not_reached(error) from None
    return link


async def is_reachable(endpoint: Endpoint) -> bool:
    """Return whether somebody accepts connections there now."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PROBE_S):
            if endpoint.scheme == "unix":
                transport: asyncio.BaseTransport
                transport, _ = await loop.create_unix_connection(asyncio.Protocol, endpoint.host)
            else:
                transport, _ = await loop.create_connection(asyncio.Protocol, endpoint.host, endpoint.port)
    except (OSError, TimeoutError):
        return False
    transport.close()
    return True
