"""The MQTT sink: what is said at the broker and when. `connection.py` has how.

The order after a connection is what keeps readers right. Home Assistant is told of the device, then the broker proves
with an "offline" that flowpi may publish at all, then state and stats are published anew, for a broker may have lost
what it kept, and only then the appliance is "online".
"""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from flowpi import __version__
from flowpi.config.mqtt import SHORTER, MqttSettings, too_long
from flowpi.config.secret import Secret
from flowpi.core import topics
from flowpi.core.errors import ConfigError, SinkError
from flowpi.host.machine import appliance_serial
from flowpi.publish.hub import Message
from flowpi.publish.messages import Final
from flowpi.publish.mqtt.absence import Absence
from flowpi.publish.mqtt.commands import Commands
from flowpi.publish.mqtt.connection import Connection, Login
from flowpi.publish.mqtt.discovery import Device, discovery
from flowpi.publish.mqtt.endpoint import Endpoint
from flowpi.publish.mqtt.kept_position import KeptPosition
from flowpi.publish.mqtt.link import is_reachable
from flowpi.publish.mqtt.outgoing import Outgoing, Topics
from flowpi.publish.mqtt.reasons import HungUpError
from flowpi.publish.mqtt.rivalry import Rivalry
from flowpi.publish.socket_client import Command

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

log = logging.getLogger(__name__)

JITTER_S = 3.0
"""The longest wait before Home Assistant is told everything anew: 200 appliances hear of its start at once."""

LINGER_S = 0.05
"""How long a live message waits for others. At a press the sound has the processor for itself meanwhile: the messages
about the press would cost it a millisecond, which is ten on a small Pi."""

ONLINE, OFFLINE = "online", "offline"
"""What the appliance, and Home Assistant, say of themselves."""


class MqttSink:
    """See `Sink`, `WatchedSink` and `RewindableSink`."""

    def __init__(
        self,
        settings: MqttSettings,
        device_id: str,
        command: Command | None = None,
        *,
        jitter_s: Callable[[], float] = lambda: random.uniform(0, JITTER_S),
    ) -> None:
        """
        Args:
            settings: with a `url`.
            command: carries out what the broker's users ask for.
            jitter_s: returns the wait before the next announcement to Home Assistant.
        """
        assert settings.url is not None
        self.filters = [topics.AVAILABILITY, topics.STATE, topics.STATS, topics.FAILED, topics.BUTTON]
        if settings.partial:
            self.filters.append(topics.PARTIAL)
        self._settings = settings
        self._command = command
        self._jitter_s = jitter_s
        self._device_id = device_id
        self._endpoint = Endpoint.parse(settings.url)
        self._topics = Topics.of(settings, device_id)
        self._device = Device(device_id, appliance_serial() or device_id, __version__)
        self._rivalry = Rivalry(device_id)
        self._absence = Absence()
        self._connection: Connection | None = None
        self._commands: Commands | None = None
        self._position: KeptPosition | None = None
        self._newest_position: bytes | None = None
        """The newest position that the broker was given, or had of this machine, on any connection."""
        self._paying = asyncio.Lock()
        """One text at a time is published again: `open` and a welcome may overlap."""
        self._kept: dict[str, Outgoing] = {}
        """The newest message of each topic that the broker keeps, but that of `availability`."""
        self._word = OFFLINE
        """What `availability` says."""
        self._unshown: list[Message] = []
        """The live messages that wait for `_showing`."""
        self._showing: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._welcome: asyncio.Task[None] | None = None
        self._judging: asyncio.Task[None] | None = None
        """Finds out why the last connection ended; `close` does not end it."""

    async def open(self) -> None:
        if self._judging is not None:
            await asyncio.wait([self._judging])
        if (rival := self._rivalry.error(time.monotonic())) is not None:
            raise rival
        login = await asyncio.to_thread(self._login)
        connection = self._connection = Connection(self._endpoint, self._receive_from_broker)
        try:
            await connection.open(login)
        except SinkError:
            self._rivalry.not_reached()
            raise
        self._watch(connection)
        self._position = KeptPosition(connection, self._topics.cursor, self._device.serial)
        if self._settings.commands and self._command is not None:
            reserved = (self._topics.base, self._settings.discovery_prefix)
            self._commands = Commands(
                self._settings.commands, self._command, self._topics.response, reserved, connection.show
            )
            await connection.subscribe(self._topics.command, as_published=True)
        if self._topics.home_assistant is not None:
            # It may have come while there was no connection. If it is away, the next answers of the broker say so.
            self._absence.came(time.monotonic())
            await self._tell(connection.subscribe(self._topics.home_assistant), connection)
            await self._announce_device(connection)
        await connection.deliver(self._topics.availability(OFFLINE))
        if (last := self._kept.get("last")) is not None:
            await connection.deliver(last)
        await self._pay(connection)  # if the last connection broke before it was done

    def receive(self, message: Message, retained: bool) -> None:
        self._unshown.append(message)
        if self._showing is None:
            self._showing = asyncio.get_running_loop().call_later(LINGER_S, self._show)

    async def write(self, final: Final) -> None:
        assert self._connection is not None
        self._show()  # no interim text comes after its final one
        await self._connection.deliver(
            self._topics.final(final), lambda _: self._absence.acknowledged(final, time.monotonic())
        )
        if self._settings.last:
            self._kept["last"] = self._topics.last(final)
            self._deliver(self._kept["last"])

    async def position_there(self) -> bytes | None:
        assert self._position is not None
        kept = await self._position.read()
        if kept is None:
            return None
        another = kept.machine not in (None, self._device.serial)
        if another and self._rivalry.possible and self._newest_position is not None:
            # It wrote over ours. A broker that crashed may have forgotten ours instead, and is judged by what it shows.
            log.warning("another machine uses the device_id %r at the broker, and wrote its position", self._device_id)
            self._rivalry.wrote()
            self._position.note(self._newest_position)
            return self._newest_position
        self._newest_position = kept.position
        return kept.position

    def note_position(self, position: bytes) -> None:
        assert self._position is not None
        self._newest_position = position
        self._position.note(position)

    async def wait_lost(self) -> None:
        assert self._connection is not None
        raise await asyncio.shield(self._connection.lost)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        self._drop_unshown()
        position, self._position = self._position, None
        for task in self._tasks:
            task.cancel()
        if self._commands is not None:
            self._commands.close()
            self._commands = None
        if connection is None:
            return
        try:
            if connection.usable:
                assert position is not None
                # With an older position at the broker the last text would be repeated at the next start.
                await asyncio.gather(connection.deliver(self._topics.availability(OFFLINE)), position.settle())
                await connection.close()
        except SinkError as error:
            log.debug("no goodbye: %s", error)
        finally:
            if position is not None:
                position.close()
            connection.abort()

    def _login(self) -> Login:
        """Read the password and the certificates, on a thread. Raises SinkError."""
        settings = self._settings
        try:
            password = settings.password.resolve() if isinstance(settings.password, Secret) else None
        except ConfigError as error:
            raise SinkError(f"publish.mqtt.password cannot be used ({error.problem})", error.hint) from None
        if password is not None and (problem := too_long(password)):
            raise SinkError(f"publish.mqtt.password {problem}", SHORTER)
        tls = _tls(settings) if self._endpoint.secure else None
        will = self._topics.availability(OFFLINE)
        return Login(f"flowpi-{self._device_id}", settings.username, password, tls, will)

    def _watch(self, connection: Connection) -> None:
        """Judge the end of a connection when it comes: a second machine shows only in several of them."""
        since = time.monotonic()

        def ended(lost: asyncio.Future[SinkError]) -> None:
            if not lost.cancelled():
                judging = self._judge(lost.result(), time.monotonic() - since)
                self._judging = asyncio.create_task(judging, name="MQTT: why it ended")

        connection.lost.add_done_callback(ended)

    async def _judge(self, error: SinkError, lasted_s: float) -> None:
        """Note why a connection ended. A broker that was killed is not there; one that obeys another machine is."""
        if isinstance(error, HungUpError) and not await is_reachable(self._endpoint):
            self._rivalry.not_reached()
        else:
            self._rivalry.lost(error, lasted_s, time.monotonic())

    async def _announce_device(self, connection: Connection) -> None:
        """Tell Home Assistant of the appliance. Who else would be subscribed to that? If nobody is, it is away."""

        def acknowledged(heard: bool) -> None:
            if not heard:  # after the broker, or the house, was without power, flowpi is often the first to be back
                self._absence.went()

        announcement = discovery(self._device, self._topics, self._settings)
        await self._tell(connection.deliver(announcement, acknowledged), connection)

    async def _tell(self, telling: Coroutine[Any, Any, None], connection: Connection) -> None:
        """Do something for Home Assistant only. A broker that refuses it still gets all texts."""
        try:
            await telling
        except SinkError as error:
            if not connection.usable:
                raise
            log.warning("Home Assistant is not told: %s; or set publish.mqtt.discovery to false", error)

    def _receive_from_broker(self, message: "MQTTMessage") -> None:
        if message.topic == self._topics.command and self._commands is not None:
            properties = message.properties
            self._commands.receive(
                bytes(message.payload),
                retained=message.retain,
                answer_to=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        elif message.topic == self._topics.cursor and self._position is not None:
            user = getattr(message.properties, "UserProperty", ())
            self._position.receive(bytes(message.payload), user, retained=message.retain)
        elif message.topic == self._topics.home_assistant:
            if message.payload == OFFLINE.encode():
                self._absence.went()
            elif message.payload == ONLINE.encode() and (self._absence.away or not message.retain):
                self._absence.came(time.monotonic())
                if self._welcome is not None:
                    self._welcome.cancel()  # two at once would each publish what it missed
                self._welcome = self._begin(self._welcome_home_assistant(), "Home Assistant")

    async def _welcome_home_assistant(self) -> None:
        """Tell Home Assistant everything anew, as after a connection, and what it missed."""
        await asyncio.sleep(self._jitter_s())
        connection = self._connection
        if connection is None:
            return
        await self._announce_device(connection)
        self._show()
        for message in list(self._kept.values()):  # others may come meanwhile, and are delivered by themselves
            await connection.deliver(message)
        await connection.deliver(self._topics.availability(self._word))
        await self._pay(connection)

    async def _pay(self, connection: Connection) -> None:
        """Publish again what Home Assistant missed."""
        async with self._paying:
            while (final := self._absence.next_owed()) is not None:
                await connection.deliver(self._topics.final(final))
                self._absence.paid()

    def _show(self) -> None:
        """Send the live messages now, and that the appliance is online after all else that it says."""
        unshown = sorted(self._drop_unshown(), key=lambda message: message.topic == topics.AVAILABILITY)
        try:
            for message in unshown:
                self._show_one(message)
        except SinkError as error:  # which `wait_lost` raises
            log.debug("not shown: %s", error)

    def _drop_unshown(self) -> list[Message]:
        """Forget the live messages that wait, and return them."""
        if self._showing is not None:
            self._showing.cancel()
            self._showing = None
        unshown, self._unshown = self._unshown, []
        return unshown

    def _show_one(self, message: Message) -> None:
        assert self._connection is not None
        if message.topic == topics.AVAILABILITY:
            self._word = message.payload
            self._deliver(self._topics.availability(self._word))
            return
        outgoing = self._topics.live(message.topic, message.json)
        if outgoing.retain:
            self._kept[message.topic] = outgoing
        if outgoing.retain or message.topic == topics.FAILED:
            self._deliver(outgoing)
        else:
            self._connection.show(outgoing)

    def _deliver(self, message: Outgoing) -> None:
        """Deliver a message without waiting for it."""
        if self._connection is not None:
            self._begin(self._connection.deliver(message), message.topic)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Do something in a task of its own. What fails in it is logged; a lost connection is reported elsewhere."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            alive = self._connection is not None and self._connection.usable
            log.log(logging.WARNING if alive else logging.DEBUG, "MQTT: %s: %s", task.get_name(), error)


def _tls(settings: MqttSettings) -> ssl.SSLContext:
    """Return what is needed to check the broker, and to be checked by it. Raises SinkError."""
    context = ssl.create_default_context()  # TLS 1.2 or newer
    try:
        if settings.ca_file is not None:
            context.load_verify_locations(settings.ca_file)
    except OSError as error:
        raise _unusable("ca_file", error) from None
    try:
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except OSError as error:
        raise _unusable("certificate", error) from None
    return context


def _unusable(name: str, error: OSError) -> SinkError:
    why = error.strerror or str(error) if not isinstance(error, ssl.SSLError) else "no PEM, or no key for it"
    return SinkError(f"publish.mqtt.{name} cannot be used ({why})", "check the path, and that flowpi may read it")
