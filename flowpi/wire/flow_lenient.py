"""Flow's messages in the forms that other programs send, read into what the roles of `flow.py` work with.

The pages of the service contradict each other, and each client follows one of them: the lenient reading accepts every
form that has one meaning. The strict reading accepts only the form that is documented now, so that our client and our
server cannot agree on a common mistake.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from flowpi.core.phrases import chosen
from flowpi.core.safe_text import printable
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.wav import HEADER_BYTES, WavError, wav_header, wav_payload
from flowpi.wire.codec import MAX_ITEMS, DecodeError, Encoding, Frame, decode, decode_tolerantly
from flowpi.wire.flow_messages import (
    AnyAppend,
    AnyAuth,
    AnyBody,
    AnyCommit,
    AnyFlowServerMessage,
    Append,
    Auth,
    ClientMessage,
    Commit,
    ServerMessage,
)
from flowpi.wire.roles import ClientProtocolError, SessionRequested

T = TypeVar("T")

PCM_NAMES = ("wav", "pcm", "raw", "linear16")
"""The beginnings of names that clients use for int16 PCM (the first observed, the others assumed). Anything else is
refused: compressed sound, read as PCM, is noise."""


class AppendedAudio(Struct):
    """The audio of an append. `duration_s`: of one packet; None if it does not matter."""

    position: int
    packets: list[bytes]
    pcm: bytes
    duration_s: float | None = None


class CommittedTotal(Struct):
    """The total of a commit."""

    packets: int


def read(frame: Frame) -> SessionRequested | AppendedAudio | CommittedTotal | None:
    """Read a message in any form that some edition of the pages has. Return None if its type is unknown.

    Raises:
        ClientProtocolError: it is no message, or it has more than one meaning.
    """
    message = _decode(frame, dict[str, Any])
    match message.get("type"):
        case "auth" | "start":
            return _session(_convert("auth", message, AnyAuth))
        case "append":
            return _audio(_convert("append", message, AnyAppend))
        case "commit":
            return CommittedTotal(_convert("commit", message, AnyCommit).total_packets)
        case str():
            return None
        case _:
            raise ClientProtocolError("type: auth, append or commit")


def read_strictly(frame: Frame, encoding: Encoding) -> SessionRequested | AppendedAudio | CommittedTotal:
    """Read a message in the documented form.

    Raises:
        ClientProtocolError: it is in another form.
    """
    try:
        message: ClientMessage = decode(frame, ClientMessage)
    except DecodeError as error:
        kind = _decode(frame, dict[str, Any]).get("type")
        raise _departure(kind if kind in ("auth", "append", "commit") else "message", error) from None
    match message:
        case Auth():
            return _session(_decode(frame, AnyAuth))  # what is not given is not UNSET
        case Append():
            return _audio_strictly(message, encoding)
        case Commit(total):
            return CommittedTotal(total)


def _session(auth: AnyAuth) -> SessionRequested:
    language = [auth.language] if isinstance(auth.language, str) else auth.language or []
    return SessionRequested(auth.access_token, language, _phrases(auth.context))


def _phrases(context: Any) -> tuple[str, ...]:
    """Return the names and words in a context, the user's terms first. What has another form than W0 is passed over."""
    if not isinstance(context, dict):
        return ()
    conversation = context.get("conversation")
    participants = conversation.get("participants") if isinstance(conversation, dict) else None
    user = [context.get("user_first_name"), context.get("user_last_name")]
    lists = (context.get("dictionary_context"), user, participants)
    return chosen(*(each for each in lists if isinstance(each, list)))


def _audio(append: AnyAppend) -> AppendedAudio:
    if (append.audio_packets is None) is (append.audio is None):
        raise ClientProtocolError("append: audio_packets, or audio")
    if append.audio is not None:
        packets, where = [append.audio], "append.audio"
    else:
        audio = append.audio_packets
        assert audio is not None
        packets, where = audio.packets, "append.audio_packets.packets"
        if audio.volumes is not None:
            _check_volumes(packets, audio.volumes)
        if not audio.audio_encoding.lower().startswith(PCM_NAMES):
            raise ClientProtocolError("append.audio_packets.audio_encoding: only wav")
    _check_count(packets)
    try:
        pcm = b"".join(wav_payload(packet) for packet in packets)
    except WavError as error:
        raise ClientProtocolError(f"{where}: {error}") from None
    if len(pcm) % FRAME_BYTES:
        raise ClientProtocolError(f"{where}: half a sample")
    return AppendedAudio(append.position, packets, pcm)


def _audio_strictly(append: Append, encoding: Encoding) -> AppendedAudio:
    audio = append.audio_packets
    if (audio.byte_encoding == "binary") is not (encoding is Encoding.MSGPACK):
        raise ClientProtocolError(f"append.audio_packets.byte_encoding: {audio.byte_encoding} in {encoding.value}")
    _check_count(audio.packets)
    _check_volumes(audio.packets, audio.volumes)
    if not 0 < audio.packet_duration < 3600:  # NaN too
        raise ClientProtocolError("append.audio_packets.packet_duration: seconds of one packet")
    pcm_bytes = round(audio.packet_duration * RATE_HZ) * FRAME_BYTES
    headers = set()
    for number, packet in enumerate(audio.packets):
        where = f"append.audio_packets.packets[{number}]"
        try:
            header_bytes = len(packet) - len(wav_payload(packet))
        except WavError as error:
            raise ClientProtocolError(f"{where}: {error}") from None
        headers.add(header_bytes)
        # Bare PCM, although its name is "wav" (W8), or with the shortest header (W0).
        if headers not in ({0}, {HEADER_BYTES}):
            raise ClientProtocolError(f"{where}: bare PCM, or a header of {HEADER_BYTES} bytes, in all packets alike")
        if len(packet) != header_bytes + pcm_bytes:
            raise ClientProtocolError(
                f"{where}: {len(packet) - header_bytes} bytes of PCM; packet_duration makes it {pcm_bytes}"
            )
        if header_bytes and not packet.startswith(wav_header(pcm_bytes)):
            raise ClientProtocolError(f"{where}: its header tells another length, or rate")
    pcm = b"".join(packet[header_bytes:] for packet in audio.packets)
    return AppendedAudio(append.position, audio.packets, pcm, audio.packet_duration)


def _check_count(packets: list[bytes]) -> None:
    if len(packets) > MAX_ITEMS:
        raise ClientProtocolError(f"append.audio_packets.packets: {len(packets)}; at most {MAX_ITEMS} in a message")
    if not all(packets):
        raise ClientProtocolError("append.audio_packets.packets: an empty one")


def _check_volumes(packets: list[bytes], volumes: list[float]) -> None:
    if len(volumes) != len(packets):
        problem = f"one number for each packet, but {len(volumes)} for {len(packets)}"
        raise ClientProtocolError(f"append.audio_packets.volumes: {problem}")


def _decode(frame: Frame, as_type: type[T]) -> T:
    try:
        message: T = decode(frame, as_type)
    except DecodeError as error:
        raise ClientProtocolError(f"message: {error}") from None
    return message


def _convert(name: str, message: dict[str, Any], as_type: type[T]) -> T:
    """Convert a message whose `bytes` may be base64 text or `bin`, whatever the encoding."""
    try:
        return msgspec.convert(message, as_type)
    except msgspec.ValidationError as error:
        raise _departure(name, error) from None


def _departure(name: str, error: Exception) -> ClientProtocolError:
    """Return an error of msgspec (`what - at `$.path``) as `name.path: what`."""
    what, _, path = str(error).partition(" - at `$")
    return ClientProtocolError(f"{name}{path.rstrip('`')}: {what}"[:200])


# Answers of the server.


def read_answer(frame: Frame) -> tuple[AnyFlowServerMessage, AnyBody | None]:
    """Read an answer in any form. Return it, and its body if it is a text.

    Raises:
        DecodeError: it is no answer.
    """
    message: AnyFlowServerMessage = decode_tolerantly(frame, AnyFlowServerMessage)
    if message.status != "text":
        return message, None
    try:
        return message, msgspec.convert(message.body, AnyBody)
    except msgspec.ValidationError as error:
        raise DecodeError(f"body: {error}"[:200]) from None


def check_answer(frame: Frame, encoding: Encoding) -> None:
    """Check that an answer is in the documented form; errors have none. Raises DecodeError if it is not."""
    if isinstance(frame, str) is (encoding is Encoding.MSGPACK):
        raise DecodeError(f"frame: a session in {encoding.value} has no such frame")
    if decode(frame, AnyFlowServerMessage).status != "error":
        decode(frame, ServerMessage)


def event_of(message: AnyFlowServerMessage) -> str | None:
    """Return the event that an info reports, or None."""
    event = message.message.get("event") if isinstance(message.message, dict) else message.message
    return event if isinstance(event, str) else None


def reason_of(message: AnyFlowServerMessage) -> str:
    """Return the first reason in words, wherever it stands: at most 200 characters, without control characters."""
    for place in (message.error, message.message, message.detail, message.body):
        words = place
        if isinstance(place, dict):
            words = next((word for key in _REASONS if isinstance(word := place.get(key), str) and word), None)
        if isinstance(words, str) and words:
            return printable(words)
    return "no reason given"


_REASONS = ("event", "detail", "message", "error", "text")
