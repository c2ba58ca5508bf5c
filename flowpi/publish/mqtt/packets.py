"""Splits what a broker sends into whole MQTT packets, and refuses what can be none, or was not asked for.

Source: MQTT 5.0, section 2.1.4 (a fixed header: one byte, then the length of the rest in one to four bytes of 7 bits).
"""

MAX_PACKET_BYTES = 64 * 1024
"""The largest packet that flowpi accepts, and says so when it connects: it receives nothing but commands."""


CONNECT, CONNACK, PUBLISH, PUBACK = 1, 2, 3, 4
"""Types of packets."""

PUBACK_CODES = frozenset({0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
"""The refusals that a PUBACK may have: MQTT 5.0, section 3.4.2.1."""


class BadStream(ValueError):
    """The broker sent something that is no MQTT, a packet of more than MAX_PACKET_BYTES, or a message with QoS 2.

    The client library keeps each message with QoS 2 until the broker releases it, and flowpi asks for QoS 1.
    """


class PacketSplitter:
    """The bytes of one connection that are no whole packet yet."""

    def __init__(self, first: int = CONNACK) -> None:
        """`first`: the type of the only packet that the stream may begin with."""
        self._first: int | None = first
        self._rest = bytearray()

    def receive(self, data: bytes, most: int | None = None) -> list[bytes]:
        """Return the packets that are whole with this data. Raises BadStream.

        `most`: return no more than so many; a call with no data returns the next ones.
        """
        self._rest += data
        if self._first is not None and self._rest:
            if self._rest[0] >> 4 != self._first:
                raise BadStream("another protocol")
            self._first = None
        packets: list[bytes] = []
        start = 0
        while len(packets) != most and (size := _packet_size(self._rest, start)) is not None:
            first = self._rest[start]
            if first >> 4 == PUBLISH and (qos := first >> 1 & 0b11) > 1:
                raise BadStream(f"a message with QoS {qos}, where QoS 1 was asked for")
            if start + size > len(self._rest):
                break
            packets.append(bytes(self._rest[start : start + size]))
            start += size
        del self._rest[:start]
        return packets


def unknown_refusal(packet: bytes) -> tuple[int, int] | None:
    """Return packet id and reason code of a PUBACK that refuses with a code that the standard does not have for it.

    Mosquitto says 0x95 for a message that is larger than its `message_size_limit`. paho cannot read that.
    """
    if packet[0] >> 4 != PUBACK or packet[1] < 3 or packet[1] >= 0x80:
        return None
    code = packet[4]
    return None if code < 0x80 or code in PUBACK_CODES else (int.from_bytes(packet[2:4]), code)


def with_code(packet: bytes, code: int) -> bytes:
    """Return a PUBACK with another reason code."""
    return packet[:4] + bytes([code]) + packet[5:]


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
