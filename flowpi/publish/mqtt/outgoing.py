"""What is published and where: the topics of one appliance, and how each message is sent."""

import msgspec
from msgspec import Struct

from flowpi.config.mqtt import MqttSettings
from flowpi.core import topics
from flowpi.core.safe_text import escaped
from flowpi.publish.messages import Final

EXPIRY_S = 10
"""How long the broker keeps what is worth nothing later: a press, an interim text."""

EXPIRING = frozenset({topics.BUTTON, topics.PARTIAL})


class Outgoing(Struct, frozen=True):
    """A message to the broker.

    Attributes:
        expiry_s: after how many seconds the broker forgets it; None: never.
        correlation: what the sender of a command wants back.
        user: user properties.
        qos: of a will; other messages are sent by `show` (0) or `deliver` (1).
    """

    topic: str
    payload: bytes
    retain: bool = False
    is_json: bool = True
    expiry_s: int | None = None
    correlation: bytes | None = None
    user: tuple[tuple[str, str], ...] = ()
    qos: int = 1


class Topics(Struct, frozen=True):
    """The topics of one appliance: those of the socket below PREFIX/DEVICE_ID, and those that only MQTT has.

    `home_assistant`: where Home Assistant says whether it is there; None without discovery.
    """

    base: str
    home_assistant: str | None

    @classmethod
    def of(cls, settings: MqttSettings, device_id: str) -> "Topics":
        status = f"{settings.discovery_prefix}/status" if settings.discovery else None
        return cls(f"{settings.topic_prefix}/{device_id}", status)

    @property
    def command(self) -> str:
        return f"{self.base}/command"

    @property
    def response(self) -> str:
        return f"{self.base}/response"

    @property
    def cursor(self) -> str:
        """Where the broker keeps the position of the texts."""
        return f"{self.base}/cursor"

    def live(self, topic: str, json: bytes) -> Outgoing:
        """Return a message of the hub."""
        expiry_s = EXPIRY_S if topic in EXPIRING else None
        return Outgoing(f"{self.base}/{topic}", json, retain=topic in topics.RETAINED, expiry_s=expiry_s)

    def availability(self, word: str) -> Outgoing:
        """Return the message that the appliance is `online` or `offline`: the bare word, as Home Assistant expects."""
        return Outgoing(f"{self.base}/{topics.AVAILABILITY}", word.encode(), retain=True, is_json=False)

    def final(self, final: Final) -> Outgoing:
        user = (("id", final.id), ("part", str(final.part)))
        return Outgoing(f"{self.base}/{topics.FINAL}", _json(final), user=user)

    def last(self, final: Final) -> Outgoing:
        """Return the copy of the newest text that the broker keeps."""
        return Outgoing(f"{self.base}/transcript/last", _json(final), retain=True)


def _json(payload: object) -> bytes:
    return escaped(msgspec.json.encode(payload))
