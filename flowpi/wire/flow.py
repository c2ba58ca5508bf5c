"""Wispr Flow's WebSocket dialect: both roles as state machines, with no socket and no clock.

Theory of operation. One connection carries one utterance:

    client                                    server
    auth                              ->
                                      <-      status auth
    append position=0, n packets      ->
                                      <-      status text, final false (the whole text so far), any number, any time
    append position=n ...             ->
    commit total_packets              ->
                                      <-      status info, commit_received
                                      <-      status text, final true; then it closes

Positions and totals count packets of one duration; the last one is padded. A text replaces the one before.

The pages of the service contradict each other: a lenient role accepts what has one meaning, a strict one what they say.
"""

import enum
from array import array
from typing import Literal, assert_never

from msgspec import UNSET

from flowpi.core.errors import AnsweredInText, ClosedError, ProtocolError, RefusedError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import rms
from flowpi.dsp.wav import wav_header
from flowpi.wire.codec import MAX_ITEMS, DecodeError, Encoding, Frame, encode
from flowpi.wire.flow_lenient import (
    AppendedAudio,
    CommittedTotal,
    check_answer,
    event_of,
    read,
    read_answer,
    read_strictly,
    reason_of,
)
from flowpi.wire.flow_messages import (
    AnyBody,
    Append,
    AudioPackets,
    Auth,
    Authenticated,
    Commit,
    CommitReceived,
    Context,
    Error,
    Info,
    ServerMessage,
    Text,
    TextBody,
)
from flowpi.wire.roles import (
    MAX_UNREADABLE,
    MAX_UNREADABLE_BYTES,
    NORMAL_CLOSES,
    AudioCommitted,
    AudioReceived,
    ClientEvent,
    ClientProtocolError,
    FinalText,
    Notice,
    PartialText,
    ServerEvent,
    SessionReady,
    SessionRequested,
)

# The client role.


class FlowClientState(enum.Enum):
    NEW = "new"
    AUTHENTICATING = "authenticating"
    STREAMING = "streaming"
    COMMITTED = "committed"
    DONE = "done"


class FlowClient:
    """The client's side of one utterance: see `roles.ClientRole`.

    Args:
        strict: for tests of servers: every departure from the documented form is a `ProtocolError` that names rule
            and field.
    """

    def __init__(
        self,
        *,
        encoding: Encoding = Encoding.MSGPACK,
        access_token: str | None = None,
        language: list[str] | None = None,
        context: Context | None = None,
        packet_ms: int = 100,
        wav: bool = True,
        strict: bool = False,
    ) -> None:
        self.encoding = encoding
        self.packet_bytes = RATE_HZ * packet_ms // 1000 * FRAME_BYTES
        self._packet_s = packet_ms / 1000
        self._header = wav_header(self.packet_bytes) if wav else b""
        self._auth = Auth(
            access_token=UNSET if access_token is None else access_token,
            language=_subtags(language or []) or UNSET,
            context=UNSET if context in (None, Context()) else context,
        )
        self.strict = strict
        self.state = FlowClientState.NEW
        self.position = 0  # packets sent so far
        self._answered = self._commit_received = False
        self._unreadable = self._unreadable_bytes = 0
        self._last: PartialText | None = None
        self._outbox: list[Frame] = []

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the upgrade request: an HTTP header chooses the encoding (W0)."""
        return {"Encoding": self.encoding.value}

    def open(self) -> list[ClientEvent]:
        assert self.state is FlowClientState.NEW
        self.state = FlowClientState.AUTHENTICATING
        self._outbox.append(encode(self._auth, self.encoding))
        return []

    def append(self, pcm: bytes) -> None:
        """Send whole packets: `pcm` is int16 mono 16 kHz, a multiple of `packet_bytes` long."""
        assert self.state is FlowClientState.STREAMING
        assert len(pcm) % self.packet_bytes == 0
        packets, volumes = [], []
        for at in range(0, len(pcm), self.packet_bytes):
            packet = pcm[at : at + self.packet_bytes]
            volumes.append(round(rms(packet), 3))
            packets.append(self._header + packet)
        byte_encoding: Literal["binary", "base64"] = "binary" if self.encoding is Encoding.MSGPACK else "base64"
        audio = AudioPackets(packets, volumes, self._packet_s, byte_encoding)
        self._outbox.append(encode(Append(self.position, audio), self.encoding))
        self.position += len(packets)

    def commit(self, tail: bytes = b"") -> None:
        """Send the rest, its last packet padded with silence, and end the audio."""
        if tail:
            self.append(tail + bytes(-len(tail) % self.packet_bytes))
        assert self.state is FlowClientState.STREAMING
        self._outbox.append(encode(Commit(self.position), self.encoding))
        self.state = FlowClientState.COMMITTED
        self._last = None  # a text of less than all of the audio does not count

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """Read one frame of the server.

        Raises:
            AnsweredInText: the first answer to MessagePack is a text frame.
            RefusedError: the server ended the session with an error.
            ProtocolError: the frame is no message of the dialect, before auth or for the `MAX_UNREADABLE`th time.
        """
        if self.encoding is Encoding.MSGPACK and not self._answered and isinstance(frame, str):
            raise AnsweredInText("the server answers MessagePack in JSON")
        self._answered = True
        try:
            message, body = read_answer(frame)
            if self.strict:
                check_answer(frame, self.encoding)
        except DecodeError as error:
            return [self._unread(frame, f"the server sent no Flow message ({error})")]
        if self.state is FlowClientState.DONE:
            return [self._departs("message: after the end")]
        if body is not None:
            return self._take(body, message.final if isinstance(message.final, bool) else body.final)
        match message.status:
            case "auth":
                return self._ready()
            case "info":
                return self._learn(event_of(message))
            case "error":
                self.state = FlowClientState.DONE
                raise RefusedError(f"the server refused: {reason_of(message)}")
            case _:  # W0 does not say that the list of statuses is closed
                return [Notice("answer with an unknown status")]

    def receive_close(self, code: int | None, reason: str = "") -> list[ClientEvent]:
        """End: the connection is closed. After a normal close, a text that came after the commit counts as final but
        unconfirmed, because W0's own example of a final text has `final: false`.

        Raises:
            ClosedError: no text came that may count.
        """
        if self.state is FlowClientState.DONE:
            return []
        if self.state is FlowClientState.COMMITTED and self._last is not None and code in NORMAL_CLOSES:
            self._departs("text: no final one before the close")
            self.state = FlowClientState.DONE
            return [FinalText(self._last.text, self._last.language, confirmed=False)]
        raise ClosedError(code, reason)

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _ready(self) -> list[ClientEvent]:
        if self.state is not FlowClientState.AUTHENTICATING:
            return [self._departs("auth: a second one")]
        self.state = FlowClientState.STREAMING
        return [SessionReady()]

    def _learn(self, event: str | None) -> list[ClientEvent]:
        match event:
            case "session_started":  # observed: the name of "auth" at one service
                return self._ready()
            case "commit_received":
                if self._commit_received or self.state is not FlowClientState.COMMITTED:
                    return [self._departs("info: commit_received, but there was no commit, or it is answered")]
                self._commit_received = True
                return [Notice("info")]
            case _:
                return [Notice("info")]

    def _take(self, body: AnyBody, final: bool | None) -> list[ClientEvent]:
        if self.state is FlowClientState.AUTHENTICATING:
            self._departs("text: before auth")
        language = body.detected_language if isinstance(body.detected_language, str) else None
        if final is not True:
            self._last = PartialText(body.text, language)
            return [self._last]
        if self.state is not FlowClientState.COMMITTED:
            # Before the commit no text is final, whatever the server calls it: the rest of the speech would be lost.
            self._departs("text.final: before the commit")
            return [PartialText(body.text, language)]
        if not self._commit_received:
            self._departs("info: no commit_received before the final text")
        self.state = FlowClientState.DONE
        return [FinalText(body.text, language)]

    def _departs(self, rule: str) -> Notice:
        if self.strict:
            raise ProtocolError(f"the server left the dialect: {rule}")
        return Notice(rule)

    def _unread(self, frame: Frame, what: str) -> Notice:
        """Pass over an unreadable frame, for the final text may still come; only so many, and none before auth."""
        self._unreadable += 1
        self._unreadable_bytes += len(frame)
        many = self._unreadable > MAX_UNREADABLE or self._unreadable_bytes > MAX_UNREADABLE_BYTES
        if many or self.strict or self.state is FlowClientState.AUTHENTICATING:
            raise ProtocolError(what)
        return Notice("a message that cannot be read")


def _subtags(language: list[str]) -> list[str]:
    """Return the languages as the service knows them, each once, best first: `en-US` and `EN` are `en` (W4)."""
    return list(dict.fromkeys(tag.replace("_", "-").partition("-")[0].lower() for tag in language))


# The server role.

MAX_KNOWN_PACKETS = 2 * MAX_ITEMS
"""The limit of packets that are known when they are sent again: 256 KB. An hour of packets of a sample would be 460 MB;
this many are an hour of packets of 0.1 s."""


class FlowServerState(enum.Enum):
    NEW = "new"
    ASKED = "asked"
    """The auth came, and is not answered yet."""
    OPEN = "open"
    COMMITTED = "committed"
    FAILED = "failed"
    """Further frames are ignored."""


class FlowServer:
    """The server's side of one utterance: see `roles.ServerRole`. A lenient one accepts audio before `accept`.

    Args:
        encoding: the one that the client asked for by its header. If None, the client is answered in the encoding of
            its first frame.
        strict: accept only the documented form. Every departure from it is an error that names rule and field.
    """

    def __init__(self, *, encoding: Encoding | None = None, strict: bool = False) -> None:
        self.encoding = encoding or Encoding.JSON
        self.strict = strict
        self.state = FlowServerState.NEW
        self.position = 0
        """The number of packets received so far."""
        self._by_first_frame = encoding is None and not strict
        self._packet_s: float | None = None
        self._hashes = array("q")
        """The hashes of the latest packets, to recognise one that is sent again."""
        self._outbox: list[Frame] = []

    @staticmethod
    def encoding_for(header: str | None) -> Encoding | None:
        """Return the encoding of a client's `Encoding` header, in upper or lower case, or None if it is unknown."""
        try:
            return Encoding((header or "").strip().lower())
        except ValueError:
            return None

    def open(self) -> list[ServerEvent]:
        return []

    def receive(self, frame: Frame) -> list[ServerEvent]:
        """Read one frame of the client.

        Raises:
            ClientProtocolError: the client left the dialect.
        """
        if self.state is FlowServerState.FAILED:
            return []
        if self._by_first_frame:
            self._by_first_frame = False
            self.encoding = Encoding.JSON if isinstance(frame, str) else Encoding.MSGPACK
        try:
            if isinstance(frame, str) is (self.encoding is Encoding.MSGPACK):
                raise ClientProtocolError(f"frame: a session in {self.encoding.value} takes no such frame")
            message = read_strictly(frame, self.encoding) if self.strict else read(frame)
            match message:
                case None:
                    return []
                case SessionRequested():
                    return self._receive_auth(message)
                case AppendedAudio():
                    return self._receive_audio(message)
                case CommittedTotal(packets):
                    return self._receive_commit(packets)
                case _:
                    assert_never(message)
        except ClientProtocolError as departure:
            self.fail(str(departure))
            raise

    def accept(self) -> None:
        if self.state is FlowServerState.ASKED:
            self.state = FlowServerState.OPEN
        self._send(Authenticated())

    def partial(self, text: str, language: str) -> None:
        self._send(Text(TextBody(text, language), self.position, final=False))

    def final(self, text: str, language: str) -> None:
        """Send the final text. Then send the frames that are left and close with 1000."""
        self._send(Text(TextBody(text, language), self.position, final=True))

    def fail(self, reason: str) -> None:
        """Refuse. Then send the frames that are left and close."""
        self.state = FlowServerState.FAILED
        self._send(Error(error=reason, message=reason))

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _receive_auth(self, request: SessionRequested) -> list[ServerEvent]:
        if self.state is not FlowServerState.NEW:
            raise ClientProtocolError("auth: only once, as the first message")
        self.state = FlowServerState.ASKED
        return [request]

    def _receive_audio(self, audio: AppendedAudio) -> list[ServerEvent]:
        self._check_open("append")
        if self.state is FlowServerState.COMMITTED:
            raise ClientProtocolError("append: after the commit")
        hashes = array("q", map(hash, audio.packets))
        if audio.position != self.position:
            first = audio.position - (self.position - len(self._hashes))
            again = self._hashes[first : first + len(hashes)] if first >= 0 else None
            if again != hashes or self.strict:
                raise ClientProtocolError(f"append.position: {audio.position}, expected {self.position}")
            return []
        if self.strict and audio.duration_s != (self._packet_s or audio.duration_s):
            raise ClientProtocolError("append.audio_packets.packet_duration: differs from the first message's")
        self._packet_s = audio.duration_s
        self._hashes += hashes
        del self._hashes[:-MAX_KNOWN_PACKETS]
        self.position += len(hashes)
        return [AudioReceived(audio.pcm)] if audio.pcm else []

    def _receive_commit(self, packets: int) -> list[ServerEvent]:
        self._check_open("commit")
        if self.state is FlowServerState.COMMITTED:
            raise ClientProtocolError("commit: only once")
        if packets != self.position:
            raise ClientProtocolError(f"commit.total_packets: {packets}, but {self.position} arrived")
        self.state = FlowServerState.COMMITTED
        self._send(Info(CommitReceived()))
        return [AudioCommitted()]

    def _check_open(self, name: str) -> None:
        if self.state is FlowServerState.NEW:
            raise ClientProtocolError(f"{name}: auth comes first")
        if self.strict and self.state is FlowServerState.ASKED:
            raise ClientProtocolError(f"{name}: before the answer to auth")

    def _send(self, message: ServerMessage) -> None:
        self._outbox.append(encode(message, self.encoding))
