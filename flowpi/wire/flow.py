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

Positions and totals count packets. All packets of a session have the same duration; the client pads the last one
with silence. A text replaces the one before.
"""

import enum
from typing import assert_never

from msgspec import UNSET, Struct, UnsetType, to_builtins

from flowpi.core.errors import AnsweredInText, ClosedError, ProtocolError, RefusedError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import rms
from flowpi.dsp.wav import WavError, wav_header, wav_payload
from flowpi.wire.codec import DecodeError, Encoding, Frame, decode, encode
from flowpi.wire.flow_messages import (
    Append,
    AudioPackets,
    Auth,
    Authenticated,
    ClientMessage,
    Commit,
    Context,
    Error,
    Info,
    ServerMessage,
    Text,
    TextBody,
)
from flowpi.wire.roles import (
    NORMAL_CLOSES,
    AudioCommitted,
    AudioReceived,
    ClientEvent,
    Departure,
    FinalText,
    Notice,
    PartialText,
    ServerEvent,
    SessionReady,
    SessionRequested,
)

# The client role.


class ClientState(enum.Enum):
    NEW = "new"
    AUTHENTICATING = "authenticating"
    STREAMING = "streaming"
    COMMITTED = "committed"
    DONE = "done"


class FlowClient:
    """The client's side of one utterance.

    Call `open`, then `append` and `commit` once `SessionReady` was returned; hand over every frame and the close.
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
    ) -> None:
        self.encoding = encoding
        self.packet_bytes = RATE_HZ * packet_ms // 1000 * FRAME_BYTES
        self._packet_s = packet_ms / 1000
        self._header = wav_header(self.packet_bytes) if wav else b""
        self._auth = Auth(
            access_token=UNSET if access_token is None else access_token,
            language=_subtags(language or []) or UNSET,
            context=to_builtins(context or Context(), builtin_types=(bytes,)) or UNSET,
        )
        self.state = ClientState.NEW
        self.position = 0
        """Packets sent so far."""
        self._answered = False
        self._last: PartialText | None = None
        self._outbox: list[Frame] = []

    @property
    def headers(self) -> dict[str, str]:
        """For the upgrade request: W0 chooses the encoding by an HTTP header of this name."""
        return {"Encoding": self.encoding.value}

    def open(self) -> list[ClientEvent]:
        assert self.state is ClientState.NEW
        self.state = ClientState.AUTHENTICATING
        self._outbox.append(encode(self._auth, self.encoding))
        return []

    def append(self, pcm: bytes) -> None:
        """Send whole packets: `pcm` is int16 mono 16 kHz, a multiple of `packet_bytes` long."""
        assert self.state is ClientState.STREAMING
        assert len(pcm) % self.packet_bytes == 0
        packets, volumes = [], []
        for at in range(0, len(pcm), self.packet_bytes):
            packet = pcm[at : at + self.packet_bytes]
            volumes.append(round(rms(packet), 3))
            packets.append(self._header + packet)
        byte_encoding = "binary" if self.encoding is Encoding.MSGPACK else "base64"
        audio = AudioPackets(packets, volumes, self._packet_s, byte_encoding=byte_encoding)
        self._outbox.append(encode(Append(self.position, audio), self.encoding))
        self.position += len(packets)

    def commit(self, tail: bytes = b"") -> None:
        """Send what is left, its last packet padded with silence, and close the audio."""
        if tail:
            self.append(tail + bytes(-len(tail) % self.packet_bytes))
        assert self.state is ClientState.STREAMING
        self._outbox.append(encode(Commit(self.position), self.encoding))
        self.state = ClientState.COMMITTED
        self._last = None  # a text of less than all is no text

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """Take one frame of the server.

        Raises:
            AnsweredInText: the first answer to MessagePack is a text frame.
            RefusedError: the server ended the session with an error.
            ProtocolError: the frame is no message of the dialect.
        """
        if self.encoding is Encoding.MSGPACK and not self._answered and isinstance(frame, str):
            raise AnsweredInText("the server answers MessagePack in JSON")
        self._answered = True
        try:
            message: ServerMessage = decode(frame, ServerMessage)
        except DecodeError as error:
            if _status(frame) is not None:  # W0 does not say that the list of statuses is closed
                return [Notice("answer with an unknown status")]
            raise ProtocolError(f"the server sent no Flow message ({error})") from None
        match message:
            case Authenticated():
                return self._ready()
            case Info(message={"event": "session_started"}):  # observed: one service calls "auth" so
                return self._ready()
            case Info():
                return [Notice("info")]
            case Text(body=body):
                self._last = PartialText(body.text, body.detected_language)
                final = message.final if message.final is not None else body.final
                # Before the commit no text is final, whatever it says: the rest of the speech would be lost.
                if not final or self.state is not ClientState.COMMITTED:
                    return [self._last]
                self.state = ClientState.DONE
                return [FinalText(body.text, body.detected_language)]
            case Error():
                self.state = ClientState.DONE
                raise RefusedError(f"the server refused: {_reason(message)}")
            case _:
                assert_never(message)

    def receive_close(self, code: int | None, reason: str = "") -> list[ClientEvent]:
        """The connection is closed. After a normal close a text that came after the commit counts as the final one,
        unconfirmed (W0's own example of a final says `final: false`).

        Raises:
            ClosedError: there is no text to take.
        """
        if self.state is ClientState.DONE:
            return []
        if self.state is ClientState.COMMITTED and self._last is not None and code in NORMAL_CLOSES:
            self.state = ClientState.DONE
            return [FinalText(self._last.text, self._last.language, confirmed=False)]
        raise ClosedError(code, reason)

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _ready(self) -> list[ClientEvent]:
        if self.state is not ClientState.AUTHENTICATING:
            return [Notice("a second auth")]
        self.state = ClientState.STREAMING
        return [SessionReady()]


def _subtags(language: list[str]) -> list[str]:
    """`en-US` and `EN` are `en` to the service (W4); each once, best first."""
    return list(dict.fromkeys(tag.replace("_", "-").partition("-")[0].lower() for tag in language))


def _status(frame: Frame) -> str | None:
    """The status of a message of unknown kind."""
    try:
        return str(decode(frame, _AnyStatus).status)
    except DecodeError:
        return None


class _AnyStatus(Struct):
    status: str


def _reason(message: Error) -> str:
    """The first reason in words, from wherever it stands; at most 200 characters, with no control characters."""
    for place in (message.error, message.message, message.detail):
        if isinstance(place, dict):
            place = place.get("event") or place.get("detail") or place.get("message")
        if isinstance(place, str) and place:
            return "".join(c if c.isprintable() else " " for c in place[:200])
    return "no reason given"


# The server role.


class FlowServer:
    """The server's side of one utterance.

    After a `Departure`, send what `data_to_send` holds (the error is in it) and close. In `strict` mode only the
    documented form is accepted.
    """

    def __init__(self, *, encoding: Encoding = Encoding.JSON, strict: bool = False) -> None:
        self.encoding = encoding
        self.strict = strict
        self.position = 0
        """Packets received so far."""
        self._authenticated = False
        self._committed = False
        self._packet_s: float | None = None
        self._outbox: list[Frame] = []

    @staticmethod
    def encoding_for(header: str | None) -> Encoding:
        """What the client asked for by its `Encoding` header, in any case; JSON where there is none."""
        return Encoding.MSGPACK if (header or "").strip().lower() == "msgpack" else Encoding.JSON

    def open(self) -> list[ServerEvent]:
        return []

    def receive(self, frame: Frame) -> list[ServerEvent]:
        """Take one frame of the client.

        Raises:
            Departure: see there.
        """
        try:
            if isinstance(frame, str) is (self.encoding is Encoding.MSGPACK):
                raise Departure(f"frame: a session in {self.encoding.value} takes no such frame")
            try:
                message: ClientMessage = decode(frame, ClientMessage)
            except DecodeError as error:
                raise Departure(f"message: {error}") from None
            match message:
                case Auth():
                    return self._receive_auth(message)
                case Append():
                    return self._receive_append(message)
                case Commit():
                    return self._receive_commit(message)
                case _:
                    assert_never(message)
        except Departure as departure:
            self.fail(str(departure))
            raise

    def accept(self) -> None:
        self._send(Authenticated())

    def partial(self, text: str, language: str) -> None:
        self._send(Text(TextBody(text, language), self.position, final=False))

    def final(self, text: str, language: str) -> None:
        """The end: send what is due, then close with 1000."""
        self._send(Text(TextBody(text, language), self.position, final=True))

    def fail(self, reason: str) -> None:
        """The end: send what is due, then close."""
        self._send(Error(error=reason, message=reason))

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _receive_auth(self, auth: Auth) -> list[ServerEvent]:
        if self._authenticated:
            raise Departure("auth: only once, as the first message")
        self._authenticated = True
        language = [auth.language] if isinstance(auth.language, str) else auth.language or []
        token = None if isinstance(auth.access_token, UnsetType) else auth.access_token
        return [SessionRequested(token, list(language), auth.context or {})]

    def _receive_append(self, append: Append) -> list[ServerEvent]:
        audio = append.audio_packets
        if not self._authenticated:
            raise Departure("append: auth comes first")
        if self._committed:
            raise Departure("append: after the commit")
        if len(audio.packets) != len(audio.volumes):
            raise Departure(f"append.volumes: {len(audio.volumes)} numbers for {len(audio.packets)} packets")
        if append.position + len(audio.packets) <= self.position and append.position < self.position:
            return []  # an identical message sent again
        if append.position != self.position:
            raise Departure(f"append.position: {append.position}, expected {self.position}")
        if self._packet_s is None:
            self._packet_s = audio.packet_duration
        elif audio.packet_duration != self._packet_s:
            raise Departure("append.packet_duration: differs from the first message's")
        try:
            pcm = b"".join(wav_payload(packet) for packet in audio.packets)
        except WavError as error:
            raise Departure(f"append.packets: {error}") from None
        if len(pcm) % FRAME_BYTES:
            raise Departure("append.packets: half a sample")
        self.position += len(audio.packets)
        return [AudioReceived(pcm)]

    def _receive_commit(self, commit: Commit) -> list[ServerEvent]:
        if not self._authenticated:
            raise Departure("commit: auth comes first")
        if self._committed:
            raise Departure("commit: only once")
        if commit.total_packets != self.position:
            raise Departure(f"commit.total_packets: {commit.total_packets}, but {self.position} arrived")
        self._committed = True
        self._send(Info({"event": "commit_received"}))
        return [AudioCommitted()]

    def _send(self, message: ServerMessage) -> None:
        self._outbox.append(encode(message, self.encoding))
