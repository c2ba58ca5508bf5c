"""What a fuzzer's bytes mean: one byte of options, then frames of a peer, each behind three bytes.

    options | how, length high, length low, content | how, length high, length low, content | ...

Bit 0 of `how` tells a binary frame from a text frame, bits 1 and 2 what our end does before it takes the frame. A
length that promises more than there is takes what is there, so every input means something.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from flowpi.wire.codec import Frame


class Arrival(Struct, frozen=True):
    """A frame of the peer. `action`: 0 to 3, what our end does before it."""

    frame: Frame
    action: int = 0


def pack(options: int, arrivals: Sequence[Arrival]) -> bytes:
    packed = bytearray([options])
    for arrival in arrivals:
        binary = isinstance(arrival.frame, bytes)
        content = arrival.frame if isinstance(arrival.frame, bytes) else arrival.frame.encode()
        packed += bytes([arrival.action << 1 | binary]) + len(content).to_bytes(2, "big") + content
    return bytes(packed)


def unpack(data: bytes) -> tuple[int, Iterator[Arrival]]:
    """Options and frames. Text is never a lone surrogate: the WebSocket library lets only UTF-8 through."""
    return (data[0] if data else 0), _arrivals(data)


def _arrivals(data: bytes) -> Iterator[Arrival]:
    at = 1
    while at + 3 <= len(data):
        how, length = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        content = data[at + 3 : at + 3 + length]
        at += 3 + length
        yield Arrival(content if how & 1 else content.decode("utf-8", "replace"), how >> 1 & 3)
