"""A broker that does what no Mosquitto does: a reason code, a packet, or nothing, as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from flowpi.publish.mqtt.packets import CONNECT, PacketSplitter

ACCEPT = b"\x20\x03\x00\x00\x00"
"""CONNACK, without properties."""

CURSOR = b"flowpi/desk/cursor"


class Scripted:
    """A broker of one connection at a time.

    Attributes:
        hello: what answers CONNECT.
        suback: the code for each subscription; 1: granted.
        puback: the code for a topic; None: no answer before `acknowledge`.
        kept: what Home Assistant had the broker keep of it, if anything.
        position: what it keeps in the topic `cursor`, which is not among those that were published.
        positions: how often it was given one.
        shows: whether it shows the position before it acknowledges the subscription, only before it acknowledges
            what flowpi sends next, or never.
        connects: how many connections there were.
        published: the topics of all messages, in order.
    """

    def __init__(self) -> None:
        self.hello = ACCEPT
        self.puback: Callable[[str], int | None] = lambda topic: 0
        self.suback = 1
        self.kept: bytes | None = None
        self.position = b""
        self.positions = 0
        self.shows: Literal["at once", "late", "never"] = "at once"
        self.connects = 0
        self.published: list[str] = []
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []
        self._held: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Send bytes on the newest connection."""
        self._writers[-1].write(data)

    def acknowledge(self) -> None:
        """Acknowledge what this connection still waits for."""
        held, self._held = self._held, []
        self.send(b"".join(held))

    def home_assistant(self, word: bytes, *, retained: bool = False) -> None:
        """Send what Home Assistant says of itself."""
        self._publish(b"homeassistant/status", word, retained)

    def _show_position(self, when: str) -> None:
        if self.position and when == self.shows:
            self._publish(CURSOR, self.position, retained=True)

    def _publish(self, topic: bytes, payload: bytes, retained: bool) -> None:
        body = bytes([0, len(topic)]) + topic + b"\x00" + payload
        self.send(bytes([0x30 | retained, len(body)]) + body)

    def stop_reading(self) -> None:
        """Let what flowpi sends on the newest connection lie."""
        self._writers[-1].transport.pause_reading()  # type: ignore[attr-defined]

    def disconnect(self, code: int) -> None:
        """Send DISCONNECT with a reason code, and close."""
        self.send(bytes([0xE0, 2, code, 0]))
        self._writers[-1].close()

    def hang_up(self) -> None:
        """Close without a word."""
        self._writers[-1].close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        splitter = PacketSplitter(CONNECT)
        while data := await reader.read(65_536):
            for packet in splitter.receive(data):
                at = next(at for at in range(1, 5) if packet[at] < 0x80) + 1
                self._answer(packet[0], packet[at:])

    def _answer(self, first: int, body: bytes) -> None:
        match first >> 4:
            case 1:
                self.connects += 1
                self._held.clear()
                self.send(self.hello)
            case 3:
                length = int.from_bytes(body[:2])
                topic = body[2 : 2 + length].decode()
                if topic == CURSOR.decode():
                    self.positions += 1
                    at = 4 + length
                    self.position = body[at + 1 + body[at] :]
                else:
                    self.published.append(topic)
                code = self.puback(topic)
                if first & 0b110:
                    puback = bytes([0x40, 4, *body[2 + length : 4 + length], code or 0, 0])
                    if code is None:
                        self._held.append(puback)
                    else:
                        self.send(puback)
            case 8:
                self.send(bytes([0x90, 4, *body[:2], 0, self.suback]))
                if CURSOR in body:
                    self._show_position("at once")
                elif self.kept is not None:
                    self.home_assistant(self.kept, retained=True)
            case 10:
                self._show_position("late")
                self.send(bytes([0xB0, 4, *body[:2], 0, 0]))
            case 12:
                self.send(b"\xd0\x00")


@asynccontextmanager
async def scripted() -> AsyncIterator[Scripted]:
    """Serve on loopback."""
    broker = Scripted()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield broker
    finally:
        server.close()
        for writer in broker._writers:
            writer.close()
