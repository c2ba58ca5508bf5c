"""Suki's dictation streaming (/ws/transcribe): both roles as state machines, with no socket and no clock.

Theory of operation. One connection carries one utterance; the session that it belongs to was made by a REST call and
is named in the upgrade, so audio may flow at once:

    client                                    server
    AUDIO, 100 ms                     ->
                                      <-      transcript, is_final false or true, any number, any time
    AUDIO, 100 ms ...                 ->
    EVENT AUDIO_END                   ->
                                      <-      the remaining transcripts, is_final true
                                      <-      transcript "EOF"; then it closes

A transcript belongs to a segment, its `transcript_id`. A later one replaces the earlier of the same segment, until one
is final. The text is the segments in the order in which they first came, joined by a space.

The pages of the service leave much open (K0 to K10 in `suki_messages.py`). The lenient roles accept every reading of
them; the strict ones only the documented reading, so that our client and our server cannot agree on a common mistake.
"""

import enum
from typing import Any, Literal, assert_never

import msgspec

from flowpi.core.errors import ClosedError, ProtocolError, RefusedError
from flowpi.core.safe_text import printable
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.wire.codec import MAX_FRAME_BYTES, DecodeError, Encoding, Frame, decode, decode_tolerantly, encode
from flowpi.wire.roles import (
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
from flowpi.wire.suki_messages import (
    AMBIENT_END,
    AUDIO_END,
    END_OF_TRANSCRIPT,
    AnySukiClientMessage,
    AnySukiServerMessage,
    AudioAsDataMessage,
    AudioMessage,
    ClientMessage,
    ErrorFrame,
    EventMessage,
    GrpcCode,
    Status,
    Transcript,
    TranscriptFrame,
)

CHUNK_BYTES = RATE_HZ // 10 * FRAME_BYTES
"""K7: 100 ms, the only size in the pages."""

MAX_SEGMENTS = 4096
"""One every 0.1 s for seven minutes. Without a bound a server could fill the memory, and every frame costs a walk over
all of them."""

# The client role.


class SukiClientState(enum.Enum):
    NEW = "new"
    STREAMING = "streaming"
    ENDED = "ended"
    """The end of the audio was sent."""
    DONE = "done"


class _Segment(msgspec.Struct):
    text: str
    final: bool


class SukiClient:
    """The client's side of one utterance: see `roles.ClientRole`.

    No word is lost: what the server showed, and did not replace by a later transcript of the same segment, is in the
    text at its place, even if it never became final.

    Args:
        language: the one that the session was made for; the language of every text.
        audio_key: the member that holds the audio.
        strict: for tests of servers: every departure from the documented form is a `ProtocolError` that names rule
            and field.
    """

    packet_bytes = CHUNK_BYTES

    def __init__(
        self,
        *,
        language: str = "en-US",
        audio_key: Literal["audioData", "data"] = "audioData",
        strict: bool = False,
    ) -> None:
        self.state = SukiClientState.NEW
        self.strict = strict
        self._language = language
        self._audio = AudioAsDataMessage if audio_key == "data" else AudioMessage
        self._segments: dict[str | int, _Segment] = {}
        """The segments in the order of arrival. Those without an id have a number."""
        self._outbox: list[Frame] = []

    def open(self) -> list[ClientEvent]:
        assert self.state is SukiClientState.NEW
        self.state = SukiClientState.STREAMING
        return [SessionReady()]

    def append(self, pcm: bytes) -> None:
        """Send whole chunks: `pcm` is a multiple of `packet_bytes` long."""
        assert self.state is SukiClientState.STREAMING
        assert len(pcm) % CHUNK_BYTES == 0
        for at in range(0, len(pcm), CHUNK_BYTES):
            self._outbox.append(encode(self._audio(pcm[at : at + CHUNK_BYTES]), Encoding.JSON))

    def commit(self, tail: bytes = b"") -> None:
        """Send the rest, its last chunk padded with silence, and AUDIO_END."""
        self.append(tail + bytes(-len(tail) % CHUNK_BYTES))
        self._outbox.append(encode(EventMessage(), Encoding.JSON))
        self.state = SukiClientState.ENDED

    def receive(self, frame: Frame) -> list[ClientEvent]:
        """Read one frame of the server.

        Raises:
            RefusedError: the server ended the session with an error.
            ClosedError: the server called the transcript complete before the audio was: the rest of the speech would
                be lost, so this connection has no text.
            ProtocolError: the frame is no message of the dialect.
        """
        if isinstance(frame, bytes):
            raise ProtocolError("the server sent a binary frame where the dialect is JSON in text frames")
        try:
            message = (decode if self.strict else decode_tolerantly)(frame, AnySukiServerMessage)
        except DecodeError as error:
            # Each message may hold a segment of the text that comes only once: none may be passed over.
            raise ProtocolError(f"the server sent no Suki message ({error})") from None
        if self.strict:
            self._check_form(frame)
        while message.result is not None:
            message = message.result
        if message.error is not None or (message.transcript is None and message.message is not None):
            self.state = SukiClientState.DONE
            raise RefusedError(f"the server refused: {_reason(message)}")
        match message.transcript:
            case None:
                return [Notice("a frame with no transcript")]
            case Transcript(text, is_final, transcript_id):
                # A member beside a nested transcript counts if the transcript itself does not have it.
                is_final = message.is_final if is_final is None else is_final
                return self._take(text, is_final, transcript_id or message.transcript_id)
            case str(text):
                return self._take(text, message.is_final, message.transcript_id)
            case _:
                assert_never(message.transcript)

    def receive_close(self, code: int | None, reason: str = "") -> list[ClientEvent]:
        """End: the connection is closed. After a normal close without EOF the text so far counts, unconfirmed, if any
        part of it is final: then the server had heard some speech to its end.

        Raises:
            ClosedError: no text came that may count.
        """
        if self.state is SukiClientState.DONE:
            return []
        any_final = any(segment.final for segment in self._segments.values())
        if self.state is SukiClientState.ENDED and any_final and code in NORMAL_CLOSES:
            self._departs("EOF: before the close")
            self.state = SukiClientState.DONE
            return [FinalText(self._text(), self._language, confirmed=False)]
        raise ClosedError(code, reason)

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _take(self, text: str, is_final: bool | None, transcript_id: str | None) -> list[ClientEvent]:
        if self.state is SukiClientState.DONE:
            return [self._departs("transcript: after EOF")]
        if text == END_OF_TRANSCRIPT and is_final is None and not transcript_id:  # else somebody said it
            return self._finish()
        key = transcript_id or self._without_id()
        before = self._segments.get(key)
        if before is not None and before.final:
            return [self._departs("transcript_id: a segment changed after it was final")]
        if before is None and len(self._segments) == MAX_SEGMENTS:
            raise ProtocolError(f"the server sent more than {MAX_SEGMENTS} segments of text")
        self._segments[key] = _Segment(text, bool(is_final))
        if sum(len(segment.text) for segment in self._segments.values()) > MAX_FRAME_BYTES:
            raise ProtocolError(f"the server sent a text of more than {MAX_FRAME_BYTES // 1024} KiB")
        return [PartialText(self._text(), self._language)]

    def _finish(self) -> list[ClientEvent]:
        if self.state is not SukiClientState.ENDED:
            self._departs("EOF: before AUDIO_END")
            raise ClosedError(None, "it said EOF before the end of the audio")
        if not all(segment.final for segment in self._segments.values()):
            self._departs("is_final: a segment never became final")
        self.state = SukiClientState.DONE
        return [FinalText(self._text(), self._language)]

    def _without_id(self) -> int:
        """Return the number of the segment of a transcript without an id: a final one ends its segment (assumed)."""
        return sum(isinstance(key, int) and segment.final for key, segment in self._segments.items())

    def _text(self) -> str:
        return " ".join(segment.text for segment in self._segments.values() if segment.text)

    def _departs(self, rule: str) -> Notice:
        if self.strict:
            raise ProtocolError(f"the server left the dialect: {rule}")
        return Notice(rule)

    def _check_form(self, frame: str) -> None:
        """Check that a frame that could be read is in the documented form. Errors have none."""
        message: dict[str, Any] = msgspec.json.decode(frame)
        if message.get("error") is not None:
            return
        transcript = message.get("transcript")
        if set(message) != {"transcript"}:
            self._departs("frame: `transcript` is its only member")
        if not isinstance(transcript, dict):
            self._departs("transcript: an object")
        elif transcript != {"transcript": END_OF_TRANSCRIPT}:
            if not isinstance(transcript.get("is_final"), bool):
                self._departs("is_final: in every transcript")
            if not transcript.get("transcript_id"):
                self._departs("transcript_id: in every transcript")
            if not transcript["is_final"] and len(transcript) > 3:
                self._departs("transcript: only a final one has more members")


def _reason(message: AnySukiServerMessage) -> str:
    """Return code and words of an error, wherever they stand: at most 200 characters, without control characters.

    The older form of grpc-gateway has `grpc_code` (assumed).
    """
    error = message.error if message.error is not None else {"code": message.code, "message": message.message}
    if not isinstance(error, dict):
        error = {"message": error}
    code, words = error.get("code", error.get("grpc_code")), error.get("message")
    name = GrpcCode(code).name if code in list(GrpcCode) else ""
    said = ": ".join(filter(None, (name, words if isinstance(words, str) else "")))
    return printable(said) or "no reason given"


# The server role.


class SukiServer:
    """The server's side of one utterance: see `roles.ServerRole`. `accept` sends nothing: the upgrade was the answer.

    Args:
        transcript_id: of the one segment that holds all of the text; a ULID that no other stream had.
        strict: accept only the documented form, and chunks of exactly 100 ms, the last one too: the pages have no
            other.
        flat: answer in the other reading of the form (see `suki_messages.py`).
    """

    def __init__(self, *, transcript_id: str, strict: bool = False, flat: bool = False) -> None:
        self.strict = strict
        self._transcript_id = transcript_id
        self._flat = flat
        self._ended = False
        self._outbox: list[Frame] = []

    def open(self) -> list[ServerEvent]:
        """Begin: the connection is open. The token came with the upgrade, and the driver has checked it."""
        return [SessionRequested(None, ["en"])]

    def receive(self, frame: Frame) -> list[ServerEvent]:
        """Read one frame of the client.

        Raises:
            ClientProtocolError: the client left the dialect.
        """
        try:
            if isinstance(frame, bytes):
                raise ClientProtocolError("frame: binary, but the dialect is JSON in text frames", 1003)
            message = self._read_strictly(frame) if self.strict else _read(frame)
            match message:
                case AudioMessage(pcm):
                    return self._receive_audio(pcm)
                case EventMessage(event):
                    return self._receive_event(event)
                case _:
                    assert_never(message)
        except ClientProtocolError as departure:
            self._send_error(GrpcCode.INVALID_ARGUMENT, str(departure))
            raise

    def accept(self) -> None: ...

    def partial(self, text: str, language: str) -> None:
        self._send_transcript(Transcript(text, False, self._transcript_id))

    def final(self, text: str, language: str) -> None:
        """Send the final text. Then send the frames that are left and close with 1000."""
        self._send_transcript(Transcript(text, True, self._transcript_id))
        self._send_transcript(Transcript(END_OF_TRANSCRIPT))

    def fail(self, reason: str) -> None:
        """Refuse. Then send the frames that are left and close."""
        self._send_error(GrpcCode.UNKNOWN, reason)

    def data_to_send(self) -> list[Frame]:
        frames, self._outbox = self._outbox, []
        return frames

    def _read_strictly(self, frame: str) -> ClientMessage:
        try:
            message: ClientMessage = decode(frame, ClientMessage)
        except DecodeError as error:
            raise ClientProtocolError(f"frame: one JSON object of the documented form ({error})") from None
        match message:
            case AudioMessage(pcm) if len(pcm) != CHUNK_BYTES:
                raise ClientProtocolError(
                    f"audioData: {len(pcm)} bytes of PCM, but every chunk is 100 ms, {CHUNK_BYTES} bytes"
                )
            case EventMessage(event) if event != AUDIO_END:
                raise ClientProtocolError("event: only AUDIO_END is documented for dictation")
            case EventMessage() if self._ended:
                raise ClientProtocolError("event: AUDIO_END only once")
        return message

    def _receive_audio(self, pcm: bytes) -> list[ServerEvent]:
        if pcm == AMBIENT_END:
            return self._receive_event(AUDIO_END)
        if self._ended:
            raise ClientProtocolError("audioData: after AUDIO_END")
        if len(pcm) % FRAME_BYTES:
            raise ClientProtocolError("audioData: half a sample")
        return [AudioReceived(pcm)] if pcm else []

    def _receive_event(self, event: str) -> list[ServerEvent]:
        if event != AUDIO_END or self._ended:
            return []
        self._ended = True
        return [AudioCommitted()]

    def _send_transcript(self, transcript: Transcript) -> None:
        frame = transcript if self._flat else TranscriptFrame(transcript)
        self._outbox.append(encode(frame, Encoding.JSON))

    def _send_error(self, code: GrpcCode, message: str) -> None:
        self._outbox.append(encode(ErrorFrame(Status(code, message)), Encoding.JSON))


def _read(frame: str) -> ClientMessage:
    """Read a message in any form that some edition of the pages has.

    Raises:
        ClientProtocolError: it is in none of these forms.
    """
    try:
        message = decode(frame, AnySukiClientMessage)
    except DecodeError as error:
        raise ClientProtocolError(f"frame: one JSON object ({error})") from None
    audio = {key: getattr(message, key) for key in ("audioData", "data", "audio_data")}
    audio = {key: text for key, text in audio.items() if text is not None}
    match message.type:
        case "end_of_stream":
            return EventMessage()
        case _ if message.end_of_stream or "end_of_stream" in (message.event, message.data):
            return EventMessage()
        case "EVENT" | "START_TIME":
            # START_TIME opens a stream of /ws/stream; its data is a time.
            return EventMessage(message.event or message.data or "")
        case None if message.event is not None and not audio:
            return EventMessage(message.event)
        case None | "AUDIO":
            return AudioMessage(_pcm(audio))
        case _ if audio.keys() - {"data"}:  # the pages name this member, and not the type of its frame
            return AudioMessage(_pcm(audio))
        case _:
            raise ClientProtocolError("type: AUDIO or EVENT")


def _pcm(audio: dict[str, str]) -> bytes:
    if len(audio) != 1:
        raise ClientProtocolError(
            f"audioData: {'is missing' if not audio else 'and ' + list(audio)[1] + ' in one frame'}"
        )
    ((key, text),) = audio.items()
    try:
        return msgspec.convert(text, bytes)
    except msgspec.ValidationError:
        raise ClientProtocolError(f"{key}: not base64 (RFC 4648, with padding)") from None
