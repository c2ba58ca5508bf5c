"""What the kernel knows of a connection: whether its other end still takes what is sent, and whether it is there.

`TCP_USER_TIMEOUT` cannot tell a dead link from a slow reader: it also counts the time in which the other end has no
room for more, although the kernel there answers every probe (`tcp_probe_timer`). So the kernel is asked what was
acknowledged.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections.abc import Iterator

UNACKNOWLEDGED_S = 5.0
"""With a ping every 2 s (`KEEP_ALIVE_S`) a dead link is known after 8 s at most."""

NOTICED_S = 3.0
"""How long it must also have been seen that something is unacknowledged: where nothing was sent, the last
acknowledgement is old."""

LOOK_S = 0.5

UNACKED, LAST_ACK_RECV, PROBES = 24, 56, 3
"""Offsets in `struct tcp_info` (linux/tcp.h), which only grows at its end."""


class Link:
    """The connection below a transport. If it is TCP, `look` aborts it when it is dead.

    Attributes:
        dead: whether it was aborted because nothing was acknowledged for `UNACKNOWLEDGED_S`.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self.dead = False
        self._transport = transport
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._is_tcp = self._socket.family != socket.AF_UNIX  # through a proxy it is the way to that
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.TimerHandle | None = None
        self._noticed_at: float | None = None
        """Since when every look has found something unacknowledged."""

    def untaken_bytes(self) -> int:
        """Return how much of what was sent the other end has not taken: acknowledged, or read from a Unix socket."""
        if self._transport.is_closing():
            return 0
        (queued,) = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))
        return self._transport.get_write_buffer_size() + int(queued)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Look before something is sent, and as long as that waits. A healthy connection costs no wake-up."""

        waiting: asyncio.TimerHandle

        def again() -> None:
            nonlocal waiting
            self.look()
            waiting = self._loop.call_later(LOOK_S, again)

        self.look()
        waiting = self._loop.call_later(LOOK_S, again)
        try:
            yield
        finally:
            waiting.cancel()

    def look(self) -> None:
        """See whether what was sent is acknowledged, and look again soon if it is not."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if not self._is_tcp or self._transport.is_closing():
            return
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        unacked, last_ack_ms = (struct.unpack_from("I", info, at)[0] for at in (UNACKED, LAST_ACK_RECV))
        # One probe of a closed window is lost now and then, and the next one may come much later.
        if not unacked and info[PROBES] <= 1:
            self._noticed_at = None
            return
        now = self._loop.time()
        self._noticed_at = self._noticed_at or now
        if now - self._noticed_at >= NOTICED_S and last_ack_ms >= UNACKNOWLEDGED_S * 1000:
            self.dead = True
            self._transport.abort()
        else:
            self._next = self._loop.call_later(LOOK_S, self.look)
