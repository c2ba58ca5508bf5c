"""The stream of packets from a broker, cut at every byte, and what is no such stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.publish.mqtt.packets import (
    MAX_PACKET_BYTES,
    PUBACK_CODES,
    BadStream,
    PacketSplitter,
    unknown_refusal,
    with_code,
)

CONNACK = b"\x20\x03\x00\x00\x00"
PUBLISH = b"\x30\xc8\x01" + bytes(200)
PINGRESP = b"\xd0\x00"


def test_cut_at_every_byte() -> None:
    packets = [CONNACK, PUBLISH, PINGRESP, PUBLISH]
    stream = b"".join(packets)
    for cut in range(len(stream) + 1):
        splitter = PacketSplitter()
        assert [*splitter.receive(stream[:cut]), *splitter.receive(stream[cut:])] == packets
    splitter = PacketSplitter()
    assert [packet for byte in stream for packet in splitter.receive(bytes([byte]))] == packets


def test_the_largest_packet_and_a_larger_one() -> None:
    largest = b"\x30\x80\x80\x04" + bytes(MAX_PACKET_BYTES)
    assert PacketSplitter().receive(CONNACK + largest) == [CONNACK, largest]
    with pytest.raises(BadStream):
        PacketSplitter().receive(CONNACK + b"\x30\x81\x80\x04")  # before it comes
    with pytest.raises(BadStream):
        PacketSplitter().receive(CONNACK + b"\x30\xff\xff\xff\xff")


@pytest.mark.parametrize("first", [0x34, 0x36, 0x3D])
def test_a_message_with_a_qos_that_was_not_asked_for(first: int) -> None:
    with pytest.raises(BadStream, match="QoS"):
        PacketSplitter().receive(CONNACK + bytes([first, 0x7F]))  # before it comes


@pytest.mark.parametrize("start", [b"H", b"\x15\x03", b"\x30\x00", b"\x00"])
def test_another_protocol_is_known_by_its_first_byte(start: bytes) -> None:
    with pytest.raises(BadStream):
        PacketSplitter().receive(start)


@given(st.binary(max_size=300))
def test_anything_is_split_or_refused(data: bytes) -> None:
    try:
        packets = PacketSplitter().receive(CONNACK + data)
    except BadStream:
        return
    assert (CONNACK + data).startswith(b"".join(packets))


@pytest.mark.parametrize(
    ("packet", "refusal"),
    [
        (b"\x40\x04\x01\x02\x95\x00", (258, 0x95)),
        (b"\x40\x03\x00\x07\xfe", (7, 0xFE)),
        (b"\x40\x02\x00\x07", None),
        (b"\x40\x04\x00\x07\x10\x00", None),
        (b"\x50\x04\x00\x07\x95\x00", None),
        *((bytes([0x40, 4, 0, 7, code, 0]), None) for code in sorted(PUBACK_CODES)),
    ],
)
def test_refusals_that_paho_cannot_read(packet: bytes, refusal: tuple[int, int] | None) -> None:
    assert unknown_refusal(packet) == refusal


def test_another_code() -> None:
    assert with_code(b"\x40\x04\x01\x02\x95\x00", 0x80) == b"\x40\x04\x01\x02\x80\x00"
