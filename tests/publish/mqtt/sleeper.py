"""A subscriber that is away most of the time, and whose session the broker keeps meanwhile."""

import json
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.waiting import wait_for

FOR_EVER = 0xFFFFFFFF


class Text(NamedTuple):
    """A text as it arrived."""

    id: str
    part: int
    text: str


class Sleeper:
    """Call `wake` while the broker runs, and `sleep`.

    Attributes:
        got: what arrived, in order.
        new_sessions: how often the broker had no session of it.
    """

    def __init__(self, port: int, topic: str) -> None:
        self.got: list[Text] = []
        self.new_sessions = 0
        self._port = port
        self._topic = topic
        self._client: paho.Client | None = None
        self._ready = False
        self._lost = False

    def wake(self) -> None:
        """Connect, and receive from now on. Return when the session is there, or the broker is not any more."""
        self.sleep()
        self._ready = self._lost = False
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="sleeper", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.on_connect = self._connected
        client.on_subscribe = lambda *_: setattr(self, "_ready", True)
        client.on_message = self._receive
        client.on_disconnect = lambda *_: setattr(self, "_lost", True)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = FOR_EVER
        client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        client.loop_start()
        wait_for(lambda: self._ready or self._lost)

    def sleep(self) -> None:
        """Disconnect, if the broker has not been killed meanwhile."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connected(self, client: paho.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if flags.session_present:
            self._ready = True
        else:
            self.new_sessions += 1
            client.subscribe(self._topic, options=SubscribeOptions(qos=1))

    def _receive(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        one = json.loads(message.payload)
        self.got.append(Text(one["id"], one["part"], one["text"]))
