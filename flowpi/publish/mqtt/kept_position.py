"""The position of the texts at the broker: one message that the broker keeps, in the topic `cursor`.

A broker does not say that it keeps nothing. So flowpi subscribes, waits for a moment, and unsubscribes: a broker works
off what it is sent in order, and on however slow a network, what it keeps arrives before its second acknowledgement.
The moment is for brokers that look for kept messages in the background.

A user property names the machine that wrote the position: that of another one says nothing about what the broker has.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from flowpi.core.errors import SinkError
from flowpi.publish.mqtt.connection import Connection
from flowpi.publish.mqtt.outgoing import Outgoing

log = logging.getLogger(__name__)

MOMENT_S = 0.3
"""How long a broker may look for what it keeps, after it has acknowledged the subscription."""


MACHINE = "machine"
"""The user property."""


class Kept(NamedTuple):
    """A position that the broker keeps, and which machine wrote it; None: it does not say."""

    position: bytes
    machine: str | None


class KeptPosition:
    """The position at the broker of one connection."""

    def __init__(self, connection: Connection, topic: str, machine: str) -> None:
        """`machine`: the name under which this one writes."""
        self._connection = connection
        self._topic = topic
        self._user = ((MACHINE, machine),)
        self._found: asyncio.Future[Kept] | None = None
        """The answer that `read` waits for."""
        self._newest: bytes | None = None
        """What is to be sent when the broker has acknowledged the one before."""
        self._sending: asyncio.Task[None] | None = None
        self._refused = False

    def receive(self, payload: bytes, user: Iterable[tuple[str, str]], *, retained: bool) -> None:
        """Receive a message of the topic. One that the broker had not kept is somebody else's, and is ignored."""
        if retained and self._found is not None and not self._found.done():
            self._found.set_result(Kept(payload, dict(user).get(MACHINE)))

    async def read(self) -> Kept | None:
        """Return the position that the broker keeps, or None if it shows none. Raises SinkError without connection."""
        await self.settle()
        self._found = asyncio.get_running_loop().create_future()
        try:
            await self._connection.subscribe(self._topic)
            await asyncio.wait([self._found], timeout=MOMENT_S)
            await self._connection.unsubscribe(self._topic)
        except SinkError as error:
            if not self._connection.usable:
                raise
            log.debug("MQTT: %s", error)
        return self._found.result() if self._found.done() else None

    def note(self, position: bytes) -> None:
        """Have the broker keep a position. Several that are noted while it acknowledges one count as the newest."""
        self._newest = position
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name=self._topic)

    async def settle(self) -> None:
        """Wait until the broker has the newest position, or does not accept it, or is not there."""
        if self._sending is not None:
            await asyncio.wait([self._sending])

    def close(self) -> None:
        """Send nothing any more."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send(self) -> None:
        while (position := self._newest) is not None:
            self._newest = None
            try:
                await self._connection.deliver(Outgoing(self._topic, position, retain=True, user=self._user))
            except SinkError as error:
                if self._connection.usable and not self._refused:
                    self._refused = True
                    log.warning("the broker does not keep the position of the texts: %s", error)
                return
