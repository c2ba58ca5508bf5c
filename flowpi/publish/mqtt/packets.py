"""Splits what a broker sends into whole MQTT packets, and refuses what can be none.

Source: MQTT 5.0, section 2.1.4 (a fixed header: one byte, then the length of the rest in one to four bytes of 7 bits).
"""

MAX_PACKET_BYTES = 64 * 1024
"""The largest packet that flowpi accepts, and says so when it connects: it receives nothing but commands."""


class BadStream(ValueError):
    """The broker sent something that is no MQTT, or a packet of more than MAX_PACKET_BYTES."""


class PacketSplitter:
    """The bytes of one connection that are no whole packet yet."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def receive(self, data: bytes) -> bytes:
        """Return the packets that are whole with this data, one after the other. Raises BadStream."""
        self._rest += data
        end = 0
        while (size := _packet_size(self._rest, end)) is not None and end + size <= len(self._rest):
            end += size
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        return whole


def _packet_size(data: bytearray, start: int) -> int | None:
    """Return the size of the packet that begins at `start`, or None if its header is not whole. Raises BadStream."""
    length = 0
    for at in range(4):
        if start + 1 + at >= len(data):
            return None
        byte = data[start + 1 + at]
        length |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            if length > MAX_PACKET_BYTES:
                raise BadStream(f"a packet of {length} bytes")
            return 2 + at + length
    raise BadStream("a length of more than four bytes")
