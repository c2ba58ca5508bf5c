"""What the kernel knows of a connection: whether its other end still takes what is sent, and whether it is there.

`TCP_USER_TIMEOUT` cannot tell a dead link from a slow reader: it also counts the time in which the other end has no
room for more, although the kernel there answers every probe (`tcp_probe_timer`). So the kernel is asked what was
acknowledged.
"""

import asyncio
import fcntl
import socket
import struct
import termios

UNACKNOWLEDGED_S = 5.0
"""With a ping every 2 s (`KEEP_ALIVE_S`) a dead link is known after 8 s at most."""

LOOK_S = 0.5

UNACKED, LAST_ACK_RECV, PROBES = 24, 56, 3
"""Offsets in `struct tcp_info` (linux/tcp.h), which only grows at its end."""


class Link:
    """The connection below a transport. If it is TCP, it is watched until the transport closes, and aborted when dead.

    Attributes:
        dead: whether it was aborted because nothing was acknowledged for `UNACKNOWLEDGED_S`.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.dead = False
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._waits = 0
        """The number of looks in a row that found something unacknowledged."""
        if self._socket.family != socket.AF_UNIX:  # through a proxy it holds for the way to that
            self._look_later()

    def untaken_bytes(self) -> int:
        """Return how much of what was sent the other end has not taken: acknowledged, or read from a Unix socket."""
        if self._transport.is_closing():
            return 0
        (queued,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))
        return self._transport.get_write_buffer_size() + int(queued)

    def _look_later(self) -> None:
        asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        unacked, last_ack_ms = (struct.unpack_from("I", info, at)[0] for at in (UNACKED, LAST_ACK_RECV))
        # One probe of a closed window is lost now and then, and the next one may come much later.
        self._waits = self._waits + 1 if unacked or info[PROBES] > 1 else 0
        # Both count: the last acknowledgement is old on a link where nothing was sent, and the looks come late on a
        # loop that was busy.
        if self._waits * LOOK_S >= UNACKNOWLEDGED_S and last_ack_ms >= UNACKNOWLEDGED_S * 1000:
            self.dead = True
            self._transport.abort()
        else:
            self._look_later()
