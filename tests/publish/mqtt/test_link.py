"""How much of what a broker sends is worked off in one turn of the loop, which also carries the sound."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from flowpi.publish.mqtt import link, websocket_link
from flowpi.publish.mqtt.endpoint import Endpoint
from flowpi.publish.mqtt.link import Link
from flowpi.publish.mqtt.websocket_link import WebSocketLink
from tests.publish.mqtt.scripted import ACCEPT
from tests.waiting import ticks, until

PUBLISH = b"\x30\x06\x00\x01t\x00ab"
MANY = 1000


class Wire(asyncio.Transport):
    """A transport in memory.

    Attributes:
        written: what was written.
        reading: whether the link wants more.
        ended: how the link ended it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Client:
    """What reads from a link: the packets of each turn, and how the link ended."""

    def __init__(self, one: Link, screen: Callable[[bytes], bytes] = bytes) -> None:
        self.turns: list[int] = []
        self.at_end = False
        self._link = one
        self._packets = 0
        one.start_reading(self._read, screen)

    def _read(self) -> None:
        data = b""
        while self._link.readable:
            data += self._link.recv(100)
        if data:
            self.turns.append(data.count(PUBLISH))
        with suppress(BlockingIOError):
            self.at_end = not self._link.recv(100)


async def test_few_packets_a_turn_and_none_is_lost() -> None:
    wire, one = Wire(), Link()
    one.connection_made(wire)
    client = Client(one)
    one.data_received(ACCEPT + PUBLISH * MANY + PUBLISH[:3])
    assert client.turns == [link.PACKETS_A_TURN - 1]
    assert not wire.reading
    await until(lambda: wire.reading)
    assert max(client.turns) == link.PACKETS_A_TURN
    assert sum(client.turns) == MANY
    one.data_received(PUBLISH[3:])
    assert sum(client.turns) == MANY + 1
    assert not client.at_end


async def test_the_end_comes_after_what_was_received_before_it() -> None:
    one = Link()
    one.connection_made(Wire())
    client = Client(one)
    one.data_received(ACCEPT + PUBLISH * MANY)
    one.connection_lost(None)
    assert not client.at_end
    await until(lambda: client.at_end)
    assert sum(client.turns) == MANY


@pytest.mark.parametrize("end", [Link.abort, Link.close])
async def test_nothing_is_read_after_it_was_ended(end: Callable[[Link], None]) -> None:
    one = Link()
    one.connection_made(Wire())
    client = Client(one)
    one.data_received(ACCEPT + PUBLISH * MANY)
    end(one)
    await ticks()
    assert len(client.turns) == 1


async def test_few_frames_of_a_websocket_a_turn() -> None:
    wire, one = Wire(), WebSocketLink(Endpoint.parse("ws://broker"))
    one.connection_made(wire)
    server = ServerProtocol(subprotocols=["mqtt"])  # type: ignore[list-item]
    server.receive_data(bytes(wire.written))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    one.data_received(b"".join(server.data_to_send()))
    await one.opened
    client = Client(one)
    wire.written.clear()
    frames = [Frame(Opcode.BINARY, ACCEPT), *[Frame(Opcode.PING, b"")] * MANY, Frame(Opcode.BINARY, PUBLISH * MANY)]
    one.data_received(b"".join(frame.serialize(mask=False) for frame in frames))
    assert 0 < len(wire.written) < 10 * websocket_link.BYTES_A_TURN  # the answers to some pings
    await until(lambda: wire.reading)
    assert max(client.turns) <= link.PACKETS_A_TURN
    assert sum(client.turns) == MANY
