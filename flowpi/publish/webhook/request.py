"""The request that carries a text, by the Standard Webhooks: https://www.standardwebhooks.com, version 1.0.0.

The body of a text is always the same bytes, and so is the id, by which the receiver recognises a text that it has
already. Time and signature are those of the try: a receiver refuses what is more than five minutes old.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from flowpi.publish.messages import Final

TYPE = "transcript.final"


class Event(msgspec.Struct):
    """What the body says. `timestamp`: when the utterance was begun."""

    type: str
    timestamp: str
    data: Final


def body_of(final: Final) -> bytes:
    """Return the body for a text, as JSON."""
    return msgspec.json.encode(Event(TYPE, final.started_at, final))


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
