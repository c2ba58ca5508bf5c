"""The meaning of a fuzzer's bytes: one byte of options, then frames of a peer, each after three bytes.

    options | how, length high, length low, content | how, length high, length low, content | ...

Bit 0 of `how` distinguishes binary from text frames, bits 1 and 2 say what our end does before it receives the frame.
A length larger than the rest means the rest, so every input is valid.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from flowpi.wire.codec import Frame


class Arrival(Struct, frozen=True):
    """A frame of the peer. `action`: what our end does before it, from 0 to 3."""

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
    """Return the options and the frames. Text has no lone surrogates, as the WebSocket library accepts only UTF-8."""
    return (data[0] if data else 0), _arrivals(data)


def _arrivals(data: bytes) -> Iterator[Arrival]:
    at = 1
    while at + 3 <= len(data):
        how, length = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        content = data[at + 3 : at + 3 + length]
        at += 3 + length
        yield Arrival(content if how & 1 else content.decode("utf-8", "replace"), how >> 1 & 3)
