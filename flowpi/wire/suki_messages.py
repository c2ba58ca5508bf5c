"""The messages of Suki's dictation streaming, as they stand on the wire, and the bodies of the REST calls around it.

Sources: "K0" to "K10" are pages of the vendor's developer site (`docs/protocols.md` lists them); "assumed" marks what
none of them says. What they mean, and in which order they come: `suki.py` and `suki_sessions.py`.
"""

import enum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from flowpi.wire.codec import DecodeError, decode

AUDIO_END = "AUDIO_END"

END_OF_TRANSCRIPT = "EOF"
"""K0: the text of the frame after the last one."""

AMBIENT_END = b"EOF"
"""K7: the last chunk of a client of the other socket, /ws/stream; three bytes are no PCM."""

# Messages of the client: text frames of JSON, one object a frame (K0, K1).


class AudioMessage(Struct, tag_field="type", tag="AUDIO", forbid_unknown_fields=True):
    """K2 names the member `audioData`; that the type is AUDIO, as on /ws/stream, is assumed. int16 mono 16 kHz."""

    pcm: bytes = msgspec.field(name="audioData")


class AudioAsDataMessage(Struct, tag_field="type", tag="AUDIO", forbid_unknown_fields=True):
    """The form of /ws/stream (K2)."""

    pcm: bytes = msgspec.field(name="data")


class EventMessage(Struct, tag_field="type", tag="EVENT", forbid_unknown_fields=True):
    """K0, K2. AUDIO_END is the only one documented for dictation; /ws/stream has more."""

    event: str = AUDIO_END


ClientMessage = AudioMessage | EventMessage
"""In the documented form."""


class AnySukiClientMessage(Struct):
    """Every member that a client of any edition of the pages sends: K2 (`event`), K7 (`data`), K10 (`end_of_stream`).

    `audio_data` is assumed.
    """

    type: str | None = None
    event: str | None = None
    data: str | None = None
    audioData: str | None = None
    audio_data: str | None = None
    end_of_stream: bool = False


# Messages of the server: text frames of JSON.


class Transcript(Struct, omit_defaults=True):
    """K0 names the members; final ones may also have `words` and speakers. In the flat form it is a frame by itself."""

    transcript: str
    is_final: bool | None = None
    transcript_id: str | None = None


class TranscriptFrame(Struct):
    """The nested form, as in K0's example of the end: `{"transcript": {"transcript": "EOF"}}`."""

    transcript: Transcript


class GrpcCode(enum.IntEnum):
    """The numbers of the service's errors (gRPC). K0 names only the ninth."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    GrpcCode.INVALID_ARGUMENT: 400,
    GrpcCode.NOT_FOUND: 404,
    GrpcCode.ALREADY_EXISTS: 409,
    GrpcCode.PERMISSION_DENIED: 403,
    GrpcCode.RESOURCE_EXHAUSTED: 429,
    GrpcCode.FAILED_PRECONDITION: 400,
    GrpcCode.UNAVAILABLE: 503,
    GrpcCode.UNAUTHENTICATED: 401,
}
"""The HTTP statuses that grpc-gateway gives them; 500 for any other. That the service uses it is assumed."""


class Status(Struct):
    """An error, in the form of grpc-gateway (assumed). The body of a refused REST call or upgrade."""

    code: int
    message: str


class ErrorFrame(Struct):
    """An error on the socket, in the form of grpc-gateway (assumed)."""

    error: Status


class AnySukiServerMessage(Struct):
    """Every member that an answer may have: nested, flat, and what grpc-gateway wraps around either (assumed)."""

    transcript: Transcript | str | None = None
    is_final: bool | None = None
    transcript_id: str | None = None
    result: "AnySukiServerMessage | None" = None
    error: Any = None
    code: Any = None
    message: Any = None


# Bodies of the REST calls.

Uuid = Annotated[str, Meta(pattern=r"\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._~+=-]{1,8192}\Z")]
"""What may stand in a header and in a path: a JWT, a UUID."""


class Login(Struct, omit_defaults=True):
    """K8: POST /api/v1/auth/login. `provider_id`: for Single Auth Token partners only."""

    partner_id: str
    partner_token: str
    provider_id: str | None = None


class LoggedIn(Struct):
    """K8. The token lasts an hour (K9)."""

    suki_token: Word


class AudioConfig(Struct):
    """K4: these are the defaults, and the only values on the page."""

    audio_encoding: str = "LINEAR16"
    audio_language: str = "en-US"
    sample_rate_hertz: int = 16_000


class CreateSession(Struct, omit_defaults=True):
    """K4: POST /api/v1/transcription/session/create. The body may be empty."""

    transcription_session_id: Uuid | None = None
    audio_config: AudioConfig | None = None


class SessionCreated(Struct):
    """K4. Answered with 201."""

    transcription_session_id: Word


class SessionEnded(Struct):
    """K5: POST /api/v1/transcription/session/{id}/end answers `{}`, although its prose promises the transcript."""


class Refusal(Exception):
    """An answer that refuses a REST call or an upgrade. `str()` is the message."""

    def __init__(self, code: GrpcCode, message: str) -> None:
        super().__init__(message)
        self.status = Status(code, message)
        self.http_status = HTTP_STATUS.get(code, 500)


Body = TypeVar("Body", Login, CreateSession)


def read_body(body: bytes, as_type: type[Body]) -> Body:
    """What a client sent to a REST call; empty stands for `{}`. Members that nobody knows are passed over.

    Raises:
        Refusal: it is not JSON, or does not fit.
    """
    try:
        message: Body = decode(body.decode("utf-8", "replace") or "{}", as_type)
    except DecodeError as error:
        raise Refusal(GrpcCode.INVALID_ARGUMENT, f"body: {error}") from None
    return message
