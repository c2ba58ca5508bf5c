"""The reason codes of MQTT 5 as errors of flowpi: what the broker refused, and what the user can do.

Source of the codes: MQTT 5.0, section 2.4.
"""

from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.core.safe_text import printable

NO_SUBSCRIBERS = 0x10
FIRST_FAILURE = 0x80
UNSPECIFIED = 0x80
BAD_CREDENTIALS, NOT_AUTHORIZED, TAKEN_OVER = 0x86, 0x87, 0x8E
PACKET_TOO_LARGE, QUOTA_EXCEEDED = 0x95, 0x97

PARKED: dict[int, str] = {
    0x90: "its topic",
    PACKET_TOO_LARGE: "its size",
    0x99: "its form",
}
"""What the broker will never accept of this text, however often it is tried. All others must not wait for it."""

CONNECT_HINTS = {
    0x84: "flowpi needs a broker that speaks MQTT 5",
    0x85: "choose another device_id",
    BAD_CREDENTIALS: "check publish.mqtt.username and publish.mqtt.password",
    NOT_AUTHORIZED: "check publish.mqtt.username and publish.mqtt.password, and the broker's users",
    0x8A: "the broker has banned this device_id",
    0x8C: "check publish.mqtt.username and publish.mqtt.password",
}


NAMES = {PACKET_TOO_LARGE: "Packet too large"}
"""What the codes mean that paho does not know in a PUBACK."""


class TakenOverError(SinkError):
    """Another client connected with the same client id, says the broker."""


class HungUpError(SinkError):
    """The connection was closed without a word: by the broker, or by the network."""


def refused_connection(endpoint: object, code: int, name: str) -> SinkError:
    """Return the error for a CONNACK. `name`: of the code, or what the broker says."""
    return SinkError(f"{endpoint} refuses the connection ({_shown(code, name)})", CONNECT_HINTS.get(code, ""))


def refused_publish(topic: str, code: int, name: str) -> SinkError:
    """Return the error for a PUBACK. SinkRefusedError: never try this message again."""
    if code in PARKED:
        return SinkRefusedError(f"the broker refuses a message to {topic} for {PARKED[code]} ({_shown(code, name)})")
    if code == NOT_AUTHORIZED:
        return SinkError(f"the broker does not allow {topic} ({_shown(code, name)})", "allow it in the broker's ACL")
    if code == QUOTA_EXCEEDED:
        return SinkError(f"the broker's quota is used up at {topic} ({_shown(code, name)})", "raise it at the broker")
    return SinkError(f"the broker refuses a message to {topic} ({_shown(code, name)})")


def too_large(topic: str, size: int, most: int) -> SinkRefusedError:
    """Return the error for a message that the broker has excluded when it accepted the connection."""
    return SinkRefusedError(
        f"a message to {topic} has {size} bytes, and the broker accepts {most}", "raise max_packet_size at the broker"
    )


def refused_subscription(topic: str, code: int, name: str) -> SinkError:
    """Return the error for a SUBACK."""
    hint = "allow it in the broker's ACL" if code == NOT_AUTHORIZED else ""
    return SinkError(f"the broker does not let flowpi read {topic} ({_shown(code, name)})", hint)


def closed(code: int, name: str) -> SinkError:
    """Return the error for a DISCONNECT from the broker."""
    if code == TAKEN_OVER:
        return TakenOverError(
            f"another client took the place at the broker ({_shown(code, name)})",
            "give each machine a device_id of its own",
        )
    return SinkError(f"the broker ended the connection ({_shown(code, name)})")


def is_failure(code: int) -> bool:
    """Return whether a code is a refusal. NO_SUBSCRIBERS is none."""
    return code >= FIRST_FAILURE


def _shown(code: int, name: str) -> str:
    return f"0x{code:02X}, {printable(name)}"
