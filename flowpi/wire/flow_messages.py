"""The messages of Wispr Flow's WebSocket dialect, as they stand on the wire.

Sources: "W0" and "W1" are the older and the current edition of the vendor's page `websocket_api`; "observed" marks
what only third-party clients show (`docs/protocols.md` lists all). For their meaning and order see `flow.py`.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from flowpi.core.hints import Hints


class _Part(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A member that was not given is absent."""


class App(_Part, frozen=True):
    """W0, W4. The application that will receive the text."""

    name: str | None = None
    type: Literal["email", "ai", "other"] | None = None


class TextboxContents(_Part, frozen=True):
    """W0, W4. The text around the cursor; it helps with casing and spacing."""

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

    @classmethod
    def of(cls, hints: Hints) -> "Context":
        """Return the context that says all of `hints`."""
        app, around, dialogue = hints.app, hints.around, hints.dialogue
        return cls(
            app=App(app.name, app.kind) if app else None,
            dictionary_context=hints.terms,
            user_identifier=hints.user_id,
            user_first_name=hints.first_name,
            user_last_name=hints.last_name,
            textbox_contents=TextboxContents(around.before, around.selected, around.after) if around else None,
            screenshot=hints.screenshot,
            content_text=hints.page_text,
            content_html=hints.page_html,
            conversation=Conversation(
                dialogue.id,
                dialogue.participants,
                tuple(ConversationMessage(turn.role, turn.text) for turn in dialogue.turns),
            )
            if dialogue
            else None,
        )


# Messages of the client, W0: text frames of JSON, or binary frames of MessagePack.

Language = Annotated[str, Meta(pattern=r"^[a-z]{2,3}\Z")]


class Auth(Struct, tag_field="type", tag="auth", forbid_unknown_fields=True):
    """W0. The first message. `language`: ISO 639-1 codes; absent or empty means "find out" (W4)."""

    access_token: str | UnsetType = UNSET
    language: list[Language] | UnsetType = UNSET
    context: Context | UnsetType = UNSET


class AudioPackets(Struct, forbid_unknown_fields=True):
    """W0. `packet_duration` is seconds of one packet; `volumes` has one number a packet, of no agreed scale."""

    packets: list[bytes]
    volumes: list[float]
    packet_duration: float
    byte_encoding: Literal["base64", "binary"]
    audio_encoding: Literal["wav"] = "wav"


class Append(Struct, tag_field="type", tag="append", forbid_unknown_fields=True):
    """W0. `position`: the index of the first packet of this message in the session."""

    position: Annotated[int, Meta(ge=0)]
    audio_packets: AudioPackets


class Commit(Struct, tag_field="type", tag="commit", forbid_unknown_fields=True):
    """W0. The end of the audio."""

    total_packets: Annotated[int, Meta(ge=0)]


ClientMessage = Auth | Append | Commit
"""In the documented form."""


class AnyAuth(Struct):
    """What clients send (observed): a language alone or with a region, and any context."""

    access_token: str | None = None
    language: list[str] | str | None = None
    context: Any = None


class AnyAudioPackets(Struct):
    """What clients send (observed): packets with and without a WAV header."""

    packets: list[bytes]
    volumes: list[float] | None = None
    audio_encoding: str = "wav"


class AnyAppend(Struct):
    """W0 has two forms: `audio_packets`, and in a table `audio`, a single packet."""

    position: int
    audio_packets: AnyAudioPackets | None = None
    audio: bytes | None = None


class AnyCommit(Struct):
    total_packets: int


# Messages of the server, W0: told apart by `status`.


class Authenticated(Struct, tag_field="status", tag="auth", forbid_unknown_fields=True):
    """W0. The session is open."""


class CommitReceived(Struct, tag_field="event", tag="commit_received", forbid_unknown_fields=True):
    """W0."""


class Info(Struct, tag_field="status", tag="info", forbid_unknown_fields=True):
    """W0."""

    message: CommitReceived


class TextBody(Struct, forbid_unknown_fields=True):
    """W0. `text` is the whole text so far."""

    text: str
    detected_language: str


class Text(Struct, tag_field="status", tag="text", forbid_unknown_fields=True):
    """W0. `position`: presumably the packets heard (assumed)."""

    body: TextBody
    position: int
    final: bool


class Error(Struct, tag_field="status", tag="error", forbid_unknown_fields=True):
    """W0: it ends the session. Where the reason stands is not documented; clients read both members (observed)."""

    error: str
    message: str


ServerMessage = Authenticated | Info | Text | Error
"""In the documented form."""


class AnyBody(Struct):
    text: str
    detected_language: Any = None
    final: Any = None


class AnyFlowServerMessage(Struct):
    """Every member that an answer may have. What `message` and `body` hold depends on the status."""

    status: str
    final: Any = None
    body: Any = None
    error: Any = None
    message: Any = None
    detail: Any = None
