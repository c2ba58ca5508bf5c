"""The check of WebSocket frames in front of the parser: masks, sizes, and the memory that large messages may use.

Theory of operation. aiohttp's parser accepts frames without a mask, has one size limit for the whole connection, and
stores up to that limit before anyone may object. `FrameGate` sees the bytes first. It reads the headers of the frames
(RFC 6455, 5.2), and instead of the first frame that breaks a rule it hands the parser one that the parser refuses
itself, with the right close code. Nothing after it reaches the parser.

Until the client has shown a key it may send small messages only. Later it may send large ones, whose size is borrowed
from the `ByteBudget` of all connections until the message has been worked off.
"""

from collections import deque
from typing import NamedTuple, Protocol

SMALL_BYTES = 64 * 1024
"""The limit of a message without a key, and of one that borrows nothing: twice a second of audio as base64."""

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Four minutes of audio, or three as base64. W0 recommends one second per append and documents no limit."""

BUDGET_BYTES = 2 * MAX_MESSAGE_BYTES
"""A message is in memory in up to four forms at once: this many bytes on the wire are 64 MB."""

UNMASKED = b"\xf0\x80" + bytes(4)
"""A frame with reserved bits, which the parser refuses with 1002 (protocol error)."""
TOO_LARGE = b"\x82\xff\x3f" + bytes(11)
"""The header of a frame of 2**62 bytes, which the parser refuses with 1009 (message too big)."""

CONTROL = 0x8
"""The first opcode of control frames, which have at most 125 bytes and are not part of a message."""


class FrameParser(Protocol):
    """What aiohttp asks of the parser behind an upgraded connection."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None: ...


class ByteBudget:
    """The bytes that large messages of all connections may use together."""

    def __init__(self, limit: int = BUDGET_BYTES) -> None:
        self._free = limit

    def borrow(self, count: int) -> bool:
        """Borrow `count` bytes; return False, and borrow none, if there are not as many left."""
        if count > self._free:
            return False
        self._free -= count
        return True

    def give_back(self, count: int) -> None:
        self._free += count


class Header(NamedTuple):
    """The header of a frame: `size` is its own length, `length` that of the payload, both in bytes."""

    size: int
    final: bool
    opcode: int
    masked: bool
    length: int


class FrameGate:
    """A parser in front of the real one, which refuses frames by their header.

    Attributes:
        problem: what was wrong with the frame that ended the connection, or None.
    """

    def __init__(self, budget: ByteBudget, *, known: bool) -> None:
        self.problem: str | None = None
        self._budget = budget
        self._known = known
        self._parser: FrameParser | None = None
        self._begun = b""  # a part of a header
        self._payload_left = 0
        self._message_bytes = 0  # of the message that is arriving
        self._borrowed = 0
        self._waiting: deque[int] = deque()  # what was borrowed for each message that has arrived

    def watch(self, parser: FrameParser) -> "FrameGate":
        """Set the parser that receives what passes."""
        self._parser = parser
        return self

    def admit(self) -> None:
        """Accept large messages from now on, because the client has shown a key."""
        self._known = True

    def finish_message(self) -> None:
        """Give back what the oldest message borrowed; call it once each message has been worked off."""
        if self._waiting:
            self._budget.give_back(self._waiting.popleft())

    def close(self) -> None:
        """Give back everything; nothing passes any more."""
        self._budget.give_back(self._borrowed + sum(self._waiting))
        self._borrowed = 0
        self._waiting.clear()
        self.problem = self.problem or "closed"

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        assert self._parser is not None
        if self.problem is not None:
            return False, b""
        return self._parser.feed_data(self._passed(self._begun + data))

    def feed_eof(self) -> None:
        assert self._parser is not None
        self._parser.feed_eof()

    def _passed(self, data: bytes) -> bytes:
        """Return what the parser may see of `data`, which begins in a payload or with a header."""
        self._begun = b""
        at = min(self._payload_left, len(data))
        self._payload_left -= at
        while at < len(data):
            header = read_header(data, at)
            if header is None:
                self._begun = data[at:]
                return data[:at]
            if (refusal := self._refusal(header)) is not None:
                return data[:at] + refusal
            end = at + header.size + header.length
            at = min(end, len(data))
            self._payload_left = end - at
        return data

    def _refusal(self, header: Header) -> bytes | None:
        """Return what the parser is given instead of a frame that is refused, or None for any other."""
        if not header.masked:
            self.problem = "frame: not masked"
            return UNMASKED
        if header.opcode >= CONTROL:
            return None
        self._message_bytes += header.length
        limit = MAX_MESSAGE_BYTES if self._known else SMALL_BYTES
        if self._message_bytes > limit:
            self.problem = f"message: more than {limit} bytes" + ("" if self._known else " before a key")
            return TOO_LARGE
        if self._message_bytes > SMALL_BYTES:
            wanted = self._message_bytes - self._borrowed
            if not self._budget.borrow(wanted):
                self.problem = "message: large, while other large ones are read"
                return TOO_LARGE
            self._borrowed += wanted
        if header.final:
            self._waiting.append(self._borrowed)
            self._message_bytes = self._borrowed = 0
        return None


def read_header(data: bytes, at: int) -> Header | None:
    """Return the header that begins at `at`, or None if `data` does not hold all of it."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    short, masked = second & 0x7F, bool(second & 0x80)
    extra = {126: 2, 127: 8}.get(short, 0)
    size = 2 + extra + 4 * masked
    if len(data) < at + size:
        return None
    length = int.from_bytes(data[at + 2 : at + 2 + extra], "big") if extra else short
    return Header(size, bool(first & 0x80), first & 0x0F, masked, length)
