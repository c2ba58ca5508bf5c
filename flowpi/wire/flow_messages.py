"""The messages of Wispr Flow's WebSocket dialect, as they stand on the wire.

Sources: "W0" and "W1" are the older and the current edition of the vendor's page `websocket_api`; "observed" marks
what only third-party clients show. What they mean, and in which order they come: `flow.py`.
"""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import fields, replace


class _Part(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Absent is what was not given."""


class App(_Part, frozen=True):
    """W0, W4. Where the text will go."""

    name: str | None = None
    type: Literal["email", "ai", "other"] | None = None


class TextboxContents(_Part, frozen=True):
    """W0, W4. What stands around the cursor; drives casing and spacing."""

    before_text: str | None = None
    selected_text: str | None = None
    after_text: str | None = None


class ConversationMessage(_Part, frozen=True):
    """W0."""

    role: Literal["user", "human", "assistant"]
    content: str


class Conversation(_Part, frozen=True):
    """W0."""

    id: str | None = None
    participants: tuple[str, ...] = ()
    messages: tuple[ConversationMessage, ...] = ()


class Context(_Part, frozen=True):
    """W0, W4. What the service may know about a dictation. `screenshot`: an image; its format is not documented."""

    app: App | None = None
    dictionary_context: tuple[str, ...] = ()
    user_identifier: str | None = None
    user_first_name: str | None = None
    user_last_name: str | None = None
    textbox_contents: TextboxContents | None = None
    screenshot: bytes | None = None
    content_text: str | None = None
    content_html: str | None = None
    conversation: Conversation | None = None

    def over(self, other: "Context") -> "Context":
        """What is given here, and for the rest what is given there."""
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name))}
        return replace(other, **given)


# Messages of the client, W0: text frames of JSON, or binary frames of MessagePack.


class Auth(Struct, tag_field="type", tag="auth"):
    """W0. The first message. `language`: ISO 639-1 codes; absent or empty means "find out"."""

    access_token: str | UnsetType = UNSET
    language: list[str] | str | UnsetType | None = UNSET
    context: dict[str, Any] | UnsetType | None = UNSET


class AudioPackets(Struct):
    """W0. `packet_duration` is seconds of one packet; `volumes` has one number a packet, of no agreed scale."""

    packets: list[bytes]
    volumes: list[float]
    packet_duration: float
    audio_encoding: str = "wav"
    byte_encoding: str = "base64"


class Append(Struct, tag_field="type", tag="append"):
    """W0. `position`: the index of the first packet of this message in the session."""

    position: int
    audio_packets: AudioPackets


class Commit(Struct, tag_field="type", tag="commit"):
    """W0. The end of the audio."""

    total_packets: int


ClientMessage = Auth | Append | Commit

# Messages of the server, W0: told apart by `status`.


class Authenticated(Struct, tag_field="status", tag="auth"):
    """W0. The session is open."""


class Info(Struct, tag_field="status", tag="info"):
    """W0 knows `{"event": "commit_received"}`; others are observed."""

    message: Any = None


class TextBody(Struct, omit_defaults=True):
    text: str
    detected_language: str | None = None
    final: bool | None = None


class Text(Struct, tag_field="status", tag="text"):
    """W0. `body.text` is the whole text so far. `position`: presumably the packets heard (assumed)."""

    body: TextBody
    position: int = 0
    final: bool | None = None


class Error(Struct, tag_field="status", tag="error", omit_defaults=True):
    """W0 says that it ends the session; where the reason stands is observed: `error`, `message` or `detail`."""

    error: Any = None
    message: Any = None
    detail: Any = None


ServerMessage = Authenticated | Info | Text | Error
