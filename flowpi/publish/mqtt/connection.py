"""One connection to the broker, from CONNECT to its end. It is never used a second time.

paho keeps what was not acknowledged and sends it again on a next connection, behind our back: in doubt, doubled and out
of order. So each connection has a client of its own, and what was not acknowledged is the publisher's to repeat.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.publish.mqtt import reasons
from flowpi.publish.mqtt.endpoint import Endpoint
from flowpi.publish.mqtt.link import Link, open_link
from flowpi.publish.mqtt.outgoing import Outgoing
from flowpi.publish.mqtt.packets import MAX_PACKET_BYTES, unknown_refusal, with_code

log = logging.getLogger(__name__)

ANSWER_S = 10.0
"""The longest time for the answer to a packet: CONNACK, SUBACK, PUBACK."""

KEEPALIVE_S = 20
"""After so long without a packet paho asks whether the broker is there, and gives it as long again to answer."""

MAX_UNSENT_BYTES = 256 * 1024
"""A broker that leaves so much lying, beside the messages that it has not acknowledged, takes nothing any more."""

WINDOW = 16
"""The most messages that are not acknowledged, if the broker does not want fewer: paho does not ask it."""

HEADER_BYTES = 16
"""The most that MQTT adds to topic, properties and payload of a message."""


class Login(Struct, frozen=True):
    """Who flowpi is at the broker. `will`: what the broker publishes for it when the connection breaks."""

    client_id: str
    username: str | None
    password: str | None
    tls: ssl.SSLContext | None
    will: Outgoing


class _Client(paho.Client):
    """A client whose socket is a link that is open already."""

    def __init__(self, link: Link, login: Login) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=login.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._link = link
        self.username_pw_set(login.username, login.password)
        will = login.will
        self.will_set(will.topic, will.payload, will.qos, will.retain)

    def _create_socket(self) -> Link:
        return self._link


class Connection:
    """Call `open` once, then the rest until `lost` is done, and `close` or `abort` in any case.

    Attributes:
        lost: done with the reason when the connection has ended by itself.
    """

    def __init__(self, endpoint: Endpoint, on_message: Callable[[paho.MQTTMessage], None]) -> None:
        """`on_message`: called with each message of a topic that was subscribed to."""
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[SinkError] = self._loop.create_future()
        self._endpoint = endpoint
        self._on_message = on_message
        self._link: Link | None = None
        self._client: _Client | None = None
        self._answers: dict[int, _Answer] = {}
        """What the broker has not acknowledged yet, by packet id."""
        self._connected: asyncio.Future[None] = self._loop.create_future()
        self._window = asyncio.Semaphore(WINDOW)
        self._most_bytes = 2**28
        self._timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open, as far as is known."""
        accepted = self._connected.done() and not self._connected.cancelled() and self._connected.exception() is None
        return accepted and not self.lost.done()

    async def open(self, login: Login) -> None:
        """Connect and log in. Raises SinkError."""
        link = self._link = await open_link(self._endpoint, login.tls)
        client = self._client = _Client(link, login)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = client.on_unsubscribe = self._on_subscribe
        client.on_message = lambda client, data, message: self._on_message(message)
        client.on_socket_register_write = self._write_soon
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.MaximumPacketSize = MAX_PACKET_BYTES
        # The name and port only satisfy paho: the link is connected already.
        client.connect("broker", keepalive=KEEPALIVE_S, clean_start=True, properties=properties)
        link.start_reading(self._read, self._screen)
        self._tick()
        try:
            await asyncio.wait_for(self._connected, ANSWER_S)
        except TimeoutError:
            raise self._endpoint.silent() from None

    async def subscribe(self, topic: str, *, as_published: bool = False) -> None:
        """Ask for the messages of a topic, at QoS 1. Raises SinkError if the broker refuses it, or does not answer.

        `as_published`: a message has the retain flag if its sender set it, not only if it comes late.
        """
        client = self._usable()
        code, mid = client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=as_published))
        await self._answer(code, mid, topic, 0)

    async def unsubscribe(self, topic: str) -> None:
        """Want no more messages of a topic. Raises SinkError if the broker does not answer."""
        code, mid = self._usable().unsubscribe(topic)
        await self._answer(code, mid, topic, 0)

    def show(self, message: Outgoing) -> None:
        """Send a message, and do not ask what becomes of it. Raises SinkError if the connection is, or is now, lost."""
        client = self._usable()
        assert self._link is not None
        if self._link.unsent_bytes > MAX_UNSENT_BYTES:
            error = SinkError("the broker takes no messages", "is it overloaded, or the network?")
            self._fail(error)
            raise error
        client.publish(message.topic, message.payload, 0, message.retain, _properties(message))

    async def deliver(self, message: Outgoing, acknowledged: Callable[[bool], None] = lambda heard: None) -> None:
        """Send a message at QoS 1, and return when the broker has acknowledged it.

        Cancelling gives up waiting: the broker may have the message all the same.

        Args:
            message: the message; it is sent before this waits, if the broker takes so many at once.
            acknowledged: called before anything else that the broker sent after its acknowledgement is received, with
                false if the broker says that nobody is subscribed to the topic.

        Raises:
            SinkRefusedError: the broker refused this message for good.
            SinkError: it refused it for now, did not answer, or the connection is lost.
        """
        properties = _properties(message)
        described: bytes = properties.pack()  # type: ignore[no-untyped-call]
        size = len(message.topic.encode()) + len(message.payload) + len(described) + HEADER_BYTES
        if size > self._most_bytes:
            raise reasons.too_large(message.topic, size, self._most_bytes)
        async with self._window:
            client = self._usable()
            sent = client.publish(message.topic, message.payload, 1, message.retain, properties)
            await self._answer(sent.rc, sent.mid, message.topic, size, acknowledged)

    async def close(self) -> None:
        """Say goodbye, so that the broker does not publish the will, and end the connection."""
        if self._client is not None and not self.lost.done():
            self._client.on_disconnect = None  # this end is no loss
            self._client.disconnect()
            await asyncio.sleep(0)  # `_write` has its turn
        self._end()

    def abort(self) -> None:
        """End the connection at once."""
        if self._client is not None:
            self._client.on_disconnect = None
        self._end()
        if self._link is not None:
            self._link.abort()

    def _usable(self) -> _Client:
        """Return the client. Raises the error by which the connection was lost."""
        if self.lost.done():
            raise self.lost.result()
        assert self._client is not None
        return self._client

    async def _answer(
        self,
        code: int,
        mid: int | None,
        topic: str,
        size: int,
        acknowledged: Callable[[bool], None] = lambda heard: None,
    ) -> None:
        """Wait for the answer to a packet."""
        if code != paho.MQTT_ERR_SUCCESS or mid is None:
            raise SinkError(f"nothing can be sent to the broker ({paho.error_string(code)})")
        answer = self._answers[mid] = _Answer(topic, size, acknowledged, self._loop.create_future())
        try:
            await asyncio.wait_for(answer.done, ANSWER_S)
        except TimeoutError:
            error = SinkError(f"the broker does not answer ({topic})", "is it overloaded, or the network?")
            self._fail(error)  # what it has not acknowledged may still arrive: nothing more on this connection
            raise error from None
        finally:
            del self._answers[mid]

    # What paho calls

    def _on_connect(self, client: Any, data: Any, flags: Any, code: ReasonCode, properties: Properties | None) -> None:
        if self._connected.done():
            return
        if reasons.is_failure(code.value):
            name = getattr(properties, "ReasonString", code.getName())
            self._connected.set_exception(reasons.refused_connection(self._endpoint, code.value, name))
            return
        if getattr(properties, "MaximumQoS", 1) < 1:
            self._connected.set_exception(SinkError(f"{self._endpoint} has no QoS 1", "flowpi needs another broker"))
            return
        self._window = asyncio.Semaphore(min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW)))
        self._most_bytes = getattr(properties, "MaximumPacketSize", self._most_bytes)
        self._connected.set_result(None)

    def _on_disconnect(self, client: Any, data: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        assert self._link is not None
        ours = not flags.is_disconnect_packet_from_server
        if (nonsense := self._link.nonsense) is not None:
            error = SinkError(f"{self._endpoint} sends what is no MQTT ({nonsense})", "is it an MQTT 5 broker?")
        elif ours and code.getName() == "Protocol error":
            error = SinkError(f"{self._endpoint} sends what is no MQTT", "is it an MQTT 5 broker?")
        elif not ours:
            error = reasons.closed(code.value, getattr(properties, "ReasonString", code.getName()))
            if code.value == reasons.PACKET_TOO_LARGE:
                self._blame_the_largest(error)
        elif code.getName() == "Keep alive timeout":
            error = SinkError("the broker does not answer any more", "is it overloaded, or the network?")
        elif not self._connected.done():
            error = self._endpoint.closed_unanswered()
        else:
            error = reasons.HungUpError("the connection to the broker broke")
        self._fail(error)

    def _on_publish(self, client: Any, data: Any, mid: int, code: ReasonCode, properties: Properties) -> None:
        if (answer := self._answers.get(mid)) is None or answer.done.done():
            return
        if reasons.is_failure(code.value):
            name = getattr(properties, "ReasonString", code.getName())
            answer.done.set_exception(reasons.refused_publish(answer.topic, code.value, name))
        else:
            answer.acknowledged(code.value != reasons.NO_SUBSCRIBERS)
            answer.done.set_result(None)

    def _on_subscribe(
        self, client: Any, data: Any, mid: int, codes: Sequence[ReasonCode], properties: Properties | None
    ) -> None:
        if (answer := self._answers.get(mid)) is None or answer.done.done():
            return
        for code in codes:
            if reasons.is_failure(code.value):
                answer.done.set_exception(reasons.refused_subscription(answer.topic, code.value, code.getName()))
                return
        answer.done.set_result(None)

    # Between paho and the link

    def _read(self) -> None:
        client, link = self._client, self._link
        assert client is not None
        assert link is not None
        try:
            client.loop_read()
            while link.readable and not self.lost.done():  # few packets: the link splits the rest off
                client.loop_read()
        except Exception as error:  # paho raises all kinds for a packet that it cannot read
            log.debug("paho: %r", error)
            self._fail(SinkError(f"{self._endpoint} sends what is no MQTT", "is it an MQTT 5 broker?"))
            link.abort()
        # Its messages are acknowledged, and its pings answered, whether it reads that or not.
        own = sum(answer.size for answer in self._answers.values())
        if link.unsent_bytes > MAX_UNSENT_BYTES + own and not self.lost.done():
            self._fail(SinkError("the broker sends, and does not read what it is sent", "is it overloaded?"))
            link.abort()

    def _screen(self, packet: bytes) -> bytes:
        """Read what paho cannot, and return a packet in its place that paho understands."""
        if (refusal := unknown_refusal(packet)) is None:
            return packet
        mid, code = refusal
        if (answer := self._answers.get(mid)) is not None and not answer.done.done():
            answer.done.set_exception(reasons.refused_publish(answer.topic, code, reasons.NAMES.get(code, "unknown")))
        return with_code(packet, reasons.UNSPECIFIED)

    def _write_soon(self, client: Any, data: Any, link: Any) -> None:
        self._loop.call_soon(self._write)

    def _write(self) -> None:
        if self._client is not None and not self.lost.done():
            self._client.loop_write()

    def _tick(self) -> None:
        """Let paho see to the time, as rarely as its keep-alive allows."""
        assert self._client is not None
        self._client.loop_misc()
        if not self.lost.done():
            self._timer = self._loop.call_later(KEEPALIVE_S / 2, self._tick)

    def _blame_the_largest(self, error: SinkError) -> None:
        """Refuse the largest message for good: the broker ended the connection for the size of one."""
        waiting = [answer for answer in self._answers.values() if answer.size and not answer.done.done()]
        if waiting:
            largest = max(waiting, key=lambda answer: answer.size)
            largest.done.set_exception(SinkRefusedError(f"{error.message} at {largest.topic}"))

    def _fail(self, error: SinkError) -> None:
        """Note that the connection is lost, and say so to everybody who waits."""
        if self.lost.done():
            return
        self.lost.set_result(error)
        waiting = [self._connected, *(answer.done for answer in self._answers.values())]
        for one in waiting:
            if not one.done():
                one.set_exception(error)
        if not self._connected.cancelled():
            self._connected.exception()  # if nobody waits for it
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.close()


class _Answer(Struct):
    """Who waits for the acknowledgement of a packet. `size`: of the message; 0 for a subscription and its end."""

    topic: str
    size: int
    acknowledged: Callable[[bool], None]
    done: asyncio.Future[None]


def _properties(message: Outgoing) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if message.is_json:
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    if message.user:
        properties.UserProperty = list(message.user)
    return properties
