"""The request that carries a message, by the Standard Webhooks: https://www.standardwebhooks.com, version 1.0.0.

The body of a text is always the same bytes, and so is the id, by which the receiver recognises a text that it has
already. Time and signature are those of the try: a receiver refuses what is more than five minutes old.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from flowpi.core import topics
from flowpi.publish.messages import Final, rfc3339


class Event(msgspec.Struct):
    """What the body says.

    Attributes:
        type: the topic, with dots between its levels.
        timestamp: when the utterance of a text was begun, or when another message was published.
        data: the payload of the topic.
    """

    type: str
    timestamp: str
    data: Final | msgspec.Raw


def body_of(final: Final) -> bytes:
    """Return the body for a text, as JSON."""
    return msgspec.json.encode(Event(type_of(topics.FINAL), final.started_at, final))


def live_body_of(topic: str, payload: bytes, unix_s: float) -> bytes:
    """Return the body for a message of another topic, as JSON, which its payload is already."""
    return msgspec.json.encode(Event(type_of(topic), rfc3339(unix_s), msgspec.Raw(payload)))


def type_of(topic: str) -> str:
    """Return the type of a message, as the Standard Webhooks write it."""
    return topic.replace("/", ".")


def id_of(final: Final) -> str:
    """Return the id of the message for a text."""
    return f"{final.id}-{final.part}"


def headers_of(message_id: str, body: bytes, keys: Sequence[bytes], unix_s: float) -> dict[str, str]:
    """Return the headers of a request; without keys it is not signed.

    Args:
        keys: with each of which it is signed.
        unix_s: the time of this try.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "flowpi"}
    if keys:
        timestamp = str(int(unix_s))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        headers["webhook-id"] = message_id
        headers["webhook-timestamp"] = timestamp
        headers["webhook-signature"] = " ".join(f"v1,{_signature(key, signed)}" for key in keys)
    return headers


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
