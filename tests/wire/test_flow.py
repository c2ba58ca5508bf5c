"""The Flow dialect: two ends in memory, and each end against what a stranger might send."""

import dataclasses
import json
from typing import Any

import msgpack
import pytest

from flowpi.core.errors import AnsweredInText, BackendError, LinkError, ProtocolError, RefusedError
from flowpi.dsp.wav import wav_header
from flowpi.wire.codec import DecodeError, Encoding, Frame, decode, encode
from flowpi.wire.flow import FlowClient, FlowClientState, FlowServer
from flowpi.wire.flow_messages import (
    App,
    Append,
    AudioPackets,
    Auth,
    Authenticated,
    ClientMessage,
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
    AudioCommitted,
    AudioReceived,
    ClientProtocolError,
    FinalText,
    Notice,
    PartialText,
    SessionReady,
    SessionRequested,
)

PACKET = bytes(range(256)) * 12 + bytes(128)  # 3200 bytes: 100 ms
ENCODINGS = list(Encoding)

GOLDEN: list[tuple[Any, dict[str, Any]]] = [
    (Auth(), {"type": "auth"}),
    (
        Auth("jwt", ["en"], Context(app=App("flowpi", "other"))),
        {
            "type": "auth",
            "access_token": "jwt",
            "language": ["en"],
            "context": {"app": {"name": "flowpi", "type": "other"}},
        },
    ),
    (
        Append(4, AudioPackets([b"\x01\x02"], [0.25], 0.1, "binary")),
        {
            "type": "append",
            "position": 4,
            "audio_packets": {
                "packets": [b"\x01\x02"],
                "volumes": [0.25],
                "packet_duration": 0.1,
                "audio_encoding": "wav",
                "byte_encoding": "binary",
            },
        },
    ),
    (Commit(7), {"type": "commit", "total_packets": 7}),
    (Authenticated(), {"status": "auth"}),
    (Info(CommitReceived()), {"status": "info", "message": {"event": "commit_received"}}),
    (
        Text(TextBody("hello", "en"), 7, final=True),
        {
            "status": "text",
            "body": {"text": "hello", "detected_language": "en"},
            "position": 7,
            "final": True,
        },
    ),
    (Error("no", "no"), {"status": "error", "error": "no", "message": "no"}),
]


@dataclasses.dataclass
class Ends:
    """A client and a server with nothing between them."""

    client: FlowClient
    server: FlowServer

    def to_server(self) -> list[Any]:
        return [event for frame in self.client.data_to_send() for event in self.server.receive(frame)]

    def to_client(self) -> list[Any]:
        return [event for frame in self.server.data_to_send() for event in self.client.receive(frame)]


def ends(encoding: Encoding = Encoding.JSON, **of_client: Any) -> Ends:
    return Ends(FlowClient(encoding=encoding, **of_client), FlowServer(encoding=encoding))


def streaming(encoding: Encoding = Encoding.JSON, **of_client: Any) -> Ends:
    """Past the auth."""
    pair = ends(encoding, **of_client)
    pair.client.open()
    pair.to_server()
    pair.server.accept()
    pair.to_client()
    return pair


def packed(message: Any) -> bytes:
    return bytes(msgpack.packb(message))


def append(
    position: int,
    *,
    count: int = 1,
    packets: list[bytes] | None = None,
    volumes: list[float] | None = None,
    packet_duration: float = 0.1,
) -> Frame:
    packets = [PACKET] * count if packets is None else packets
    volumes = [0.5] * len(packets) if volumes is None else volumes
    return encode(Append(position, AudioPackets(packets, volumes, packet_duration, "base64")), Encoding.JSON)


def refusal(server: FlowServer, frame: Frame) -> str:
    """What the server says when it turns the frame down, to its driver and to the client alike."""
    server.data_to_send()
    with pytest.raises(ClientProtocolError) as caught:
        server.receive(frame)
    (answer,) = server.data_to_send()
    assert decode(answer, ServerMessage) == Error(error=str(caught.value), message=str(caught.value))
    return str(caught.value)


class TestMessages:
    @pytest.mark.parametrize(("message", "plain"), GOLDEN, ids=lambda value: type(value).__name__)
    def test_msgpack_form(self, message: Any, plain: dict[str, Any]) -> None:
        frame = encode(message, Encoding.MSGPACK)
        assert isinstance(frame, bytes)
        assert msgpack.unpackb(frame) == plain

    @pytest.mark.parametrize(("message", "plain"), GOLDEN, ids=lambda value: type(value).__name__)
    def test_json_form_has_base64_for_bytes(self, message: Any, plain: dict[str, Any]) -> None:
        frame = encode(message, Encoding.JSON)
        assert isinstance(frame, str)
        assert json.loads(frame) == json.loads(json.dumps(plain, default=lambda packet: "AQI="))

    @pytest.mark.parametrize("encoding", ENCODINGS)
    @pytest.mark.parametrize("message", [message for message, _ in GOLDEN], ids=lambda value: type(value).__name__)
    def test_round_trip(self, message: Any, encoding: Encoding) -> None:
        kind = ClientMessage if isinstance(message, ClientMessage) else ServerMessage
        assert decode(encode(message, encoding), kind) == message

    def test_every_message_has_a_golden_form(self) -> None:
        assert {type(message) for message, _ in GOLDEN} == {*ClientMessage.__args__, *ServerMessage.__args__}

    @pytest.mark.parametrize(
        ("frame", "text"),
        [
            ("{", "not JSON (DecodeError)"),
            ("\ud800", "not JSON (UnicodeEncodeError)"),
            ('{"a": ' + "[" * 10_000 + "]" * 10_000 + ', "type": "auth"}', "not JSON (RecursionError)"),
            ('{"a": [' + "[]," * 40_000 + '[]], "type": "auth"}', "more than 65536 entries"),
            (b"", "not MessagePack (ValueError)"),
            (b"\xc1", "not MessagePack (FormatError)"),
            (b"\xdd\xff\xff\xff\xff", "not MessagePack (ValueError)"),
            (b"\x91" * 100_000, "not MessagePack (StackError)"),
            (b"\x9a" + b"\xdc\x20\x00" * 10 + b"\x90" * 80_000, "more than 65536 entries"),
            ("[]", "Expected `object`, got `array`"),
            ("{}", "Object missing required field `type`"),
            ('{"type": "commit"}', "Object missing required field `total_packets`"),
            ('{"type": "commit", "total_packets": "7"}', "Expected `int`, got `str` - at `$.total_packets`"),
        ],
    )
    def test_not_a_message(self, frame: Frame, text: str) -> None:
        with pytest.raises(DecodeError) as caught:
            decode(frame, ClientMessage)
        assert str(caught.value) == text

    def test_an_error_names_no_long_value(self) -> None:
        with pytest.raises(DecodeError) as caught:
            decode(json.dumps({"type": "x" * 1_000_000}), ClientMessage)
        assert len(str(caught.value)) <= 200


class TestUtterance:
    @pytest.mark.parametrize("wav", [True, False], ids=["wav", "bare"])
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_whole(self, encoding: Encoding, wav: bool) -> None:
        pair = ends(
            encoding, wav=wav, access_token="secret", language=["en"], context=Context(dictionary_context=("Debian",))
        )
        assert pair.client.headers == {"Encoding": encoding.value}
        pair.client.open()
        assert pair.to_server() == [SessionRequested("secret", ["en"], ("Debian",))]
        pair.server.accept()
        assert pair.to_client() == [SessionReady()]
        pair.client.append(PACKET * 3)
        assert pair.to_server() == [AudioReceived(PACKET * 3)]
        pair.server.partial("It was", "en")
        assert pair.to_client() == [PartialText("It was", "en")]
        pair.client.commit(PACKET + b"\1\0")
        assert pair.to_server() == [AudioReceived(PACKET + b"\1\0" + bytes(3198)), AudioCommitted()]
        assert (pair.client.position, pair.server.position) == (5, 5)
        assert pair.to_client() == [Notice("info")]
        pair.server.final("It was the best.", "en")
        assert pair.to_client() == [FinalText("It was the best.", "en")]
        assert pair.client.receive_close(1000) == []

    def test_nothing_was_said(self) -> None:
        pair = streaming()
        pair.client.commit()
        assert pair.to_server() == [AudioCommitted()]

    @pytest.mark.parametrize(
        ("header", "encoding"),
        [
            (None, None),
            ("", None),
            ("gzip", None),
            ("json", Encoding.JSON),
            ("msgpack", Encoding.MSGPACK),
            (" MsgPack ", Encoding.MSGPACK),
        ],
    )
    def test_encoding_by_header(self, header: str | None, encoding: Encoding | None) -> None:
        assert FlowServer.encoding_for(header) is encoding

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_without_a_header_the_first_frame_tells_the_encoding(self, encoding: Encoding) -> None:
        server = FlowServer()
        server.receive(encode(Auth(), encoding))
        server.accept()
        assert server.data_to_send() == [encode(Authenticated(), encoding)]


class TestClient:
    def test_close_before_the_text(self) -> None:
        pair = streaming()
        with pytest.raises(LinkError) as caught:
            pair.client.receive_close(1011, "over")
        assert str(caught.value) == "the server closed before the text came (code 1011, over)"

    def test_connection_lost_after_the_commit(self) -> None:
        pair = streaming()
        pair.client.commit()
        with pytest.raises(LinkError, match=r"^the server closed before the text came \(no close frame\)$"):
            pair.client.receive_close(None)

    def test_close_after_the_commit_makes_the_last_text_final(self) -> None:
        pair = streaming()
        pair.client.commit()
        pair.server.partial("It was", "en")
        pair.to_client()
        assert pair.client.receive_close(1000) == [FinalText("It was", "en", confirmed=False)]
        assert pair.client.state is FlowClientState.DONE

    @pytest.mark.parametrize("code", [None, 1001, 1006, 1011, 4000])
    def test_a_broken_connection_makes_no_text_final(self, code: int | None) -> None:
        pair = streaming()
        pair.client.commit()
        pair.server.partial("It was", "en")
        pair.to_client()
        with pytest.raises(LinkError):
            pair.client.receive_close(code)

    def test_a_text_from_before_the_commit_is_not_all(self) -> None:
        pair = streaming()
        pair.server.partial("It was", "en")
        pair.to_client()
        pair.client.commit()
        with pytest.raises(LinkError):
            pair.client.receive_close(1000)

    def test_close_with_a_text_but_no_commit_gives_none(self) -> None:
        pair = streaming()
        pair.server.partial("It was", "en")
        pair.to_client()
        with pytest.raises(LinkError):
            pair.client.receive_close(1000)

    @pytest.mark.parametrize("answer", ['{"status": "auth"}', "{", '{"detail": "bad"}'])
    def test_text_answer_to_msgpack(self, answer: str) -> None:
        client = FlowClient(encoding=Encoding.MSGPACK)
        client.open()
        with pytest.raises(AnsweredInText, match=r"^the server answers MessagePack in JSON$"):
            client.receive(answer)

    def test_text_after_a_binary_answer_is_no_reason_to_change(self) -> None:
        pair = streaming(Encoding.MSGPACK)
        assert pair.client.receive('{"status": "info"}') == [Notice("info")]

    def test_unknown_status_is_passed_over(self) -> None:
        assert streaming().client.receive('{"status": "usage", "seconds": 3}') == [
            Notice("answer with an unknown status")
        ]

    def test_second_auth_is_passed_over(self) -> None:
        assert streaming().client.receive('{"status": "auth"}') == [Notice("auth: a second one")]

    def test_session_started_is_ready(self) -> None:
        client = FlowClient(encoding=Encoding.JSON)
        client.open()
        assert client.receive('{"status": "info", "message": {"event": "session_started"}}') == [SessionReady()]

    @pytest.mark.parametrize("place", ['"final": true, "body": {"text": "a"}', '"body": {"text": "a", "final": true}'])
    def test_final_in_either_place(self, place: str) -> None:
        client = streaming().client
        client.commit()
        assert client.receive(f'{{"status": "text", {place}}}') == [FinalText("a", None)]

    def test_no_text_is_final_before_the_commit(self) -> None:
        client = streaming().client
        assert client.receive('{"status": "text", "final": true, "body": {"text": "a"}}') == [PartialText("a", None)]
        with pytest.raises(LinkError):
            client.receive_close(1000)

    @pytest.mark.parametrize("frame", ["garbage", "{}", "null", '{"status": 7}', '{"status": "text", "body": {}}'])
    def test_no_message(self, frame: str) -> None:
        """Before auth it is no Flow server. After that, each text holds the whole one so far: the next may be good."""
        client = FlowClient(encoding=Encoding.JSON)
        client.open()
        with pytest.raises(ProtocolError, match=r"^the server sent no Flow message "):
            client.receive(frame)
        client = streaming().client
        for _ in range(MAX_UNREADABLE):
            assert client.receive(frame) == [Notice("a message that cannot be read")]
        with pytest.raises(ProtocolError, match=r"^the server sent no Flow message "):
            client.receive(frame)

    @pytest.mark.parametrize(
        ("frame", "text"),
        [
            (r'{"status": "text", "body": {"text": "a \ud83d"}}', "a \ufffd"),
            (r'{"status": "text", "body": {"text": "\ud83d\ude00"}}', "\U0001f600"),
            ('{"status": "text", "confidence": NaN, "body": {"text": "a"}, "position": NaN}', "a"),
            (packed({"status": "text", "body": {"text": "a"}, "at": msgpack.Timestamp(1)}), "a"),
            (packed({"status": "text", "body": {"text": "a"}, "at": msgpack.ExtType(5, b"x" * 100)}), "a"),
            (packed({"status": "text", "body": {"text": "a?"}}).replace(b"?", b"\xff"), "a\ufffd"),
        ],
    )
    def test_a_text_is_read_as_far_as_it_can_be(self, frame: Frame, text: str) -> None:
        client = streaming(Encoding.JSON if isinstance(frame, str) else Encoding.MSGPACK).client
        assert client.receive(frame) == [PartialText(text, None)]
        client.commit()
        client.receive(frame)
        assert client.receive_close(1000) == [FinalText(text, None, confirmed=False)]

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ('"error": "quota"', "quota"),
            ('"message": "quota"', "quota"),
            ('"message": {"event": "quota"}', "quota"),
            ('"detail": {"detail": "quota"}', "quota"),
            ('"error": "", "detail": "quota"', "quota"),
            ('"error": "two\\nlines"', "two lines"),
            ('"error": 7', "no reason given"),
        ],
    )
    def test_refused(self, answer: str, reason: str) -> None:
        with pytest.raises(RefusedError) as caught:
            streaming().client.receive(f'{{"status": "error", {answer}}}')
        assert str(caught.value) == f"the server refused: {reason}"
        assert isinstance(caught.value, BackendError)


class TestServer:
    @pytest.mark.parametrize("packet", [PACKET, wav_header(len(PACKET)) + PACKET], ids=["bare", "wav"])
    def test_packets_with_and_without_header(self, packet: bytes) -> None:
        assert streaming().server.receive(append(0, packets=[packet] * 2)) == [AudioReceived(PACKET * 2)]

    def test_short_last_packet(self) -> None:
        assert streaming().server.receive(append(0, packets=[PACKET, b"\1\0"])) == [AudioReceived(PACKET + b"\1\0")]

    def test_same_message_twice(self) -> None:
        server = streaming().server
        server.receive(append(0))
        server.receive(append(1))
        assert server.receive(append(1)) == []
        assert server.receive(append(0)) == []
        assert server.position == 2

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (append(2), "append.position: 2, expected 1"),
            (append(0, count=2), "append.position: 0, expected 1"),
            (append(0, packets=[bytes(3200)]), "append.position: 0, expected 1"),
            (append(-1), "append.position: -1, expected 1"),
            (append(1, volumes=[]), "append.audio_packets.volumes: one number for each packet, but 0 for 1"),
            (append(1, packets=[b"odd"]), "append.audio_packets.packets: half a sample"),
            (
                append(1, packets=[wav_header(0)[:30]]),
                "append.audio_packets.packets: WAV packet is cut off before its data",
            ),
            ('{"type": "commit", "total_packets": 2}', "commit.total_packets: 2, but 1 arrived"),
            ('{"type": "commit", "total_packets": 0}', "commit.total_packets: 0, but 1 arrived"),
            ('{"type": "auth"}', "auth: only once, as the first message"),
            ("garbage", "message: not JSON (DecodeError)"),
            ('{"audio": ""}', "type: auth, append or commit"),
            (b"\x80", "frame: a session in json takes no such frame"),
        ],
    )
    def test_departure(self, frame: Frame, reason: str) -> None:
        server = streaming().server
        server.receive(append(0))
        assert refusal(server, frame) == reason

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (append(0), "append: auth comes first"),
            ('{"type": "commit", "total_packets": 0}', "commit: auth comes first"),
        ],
    )
    def test_before_the_auth(self, frame: Frame, reason: str) -> None:
        assert refusal(FlowServer(), frame) == reason

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [(append(0), "append: after the commit"), ('{"type": "commit", "total_packets": 0}', "commit: only once")],
    )
    def test_after_the_commit(self, frame: Frame, reason: str) -> None:
        pair = streaming()
        pair.client.commit()
        pair.to_server()
        assert refusal(pair.server, frame) == reason

    def test_text_frame_in_a_msgpack_session(self) -> None:
        server = FlowServer(encoding=Encoding.MSGPACK)
        assert refusal(server, '{"type": "auth"}') == "frame: a session in msgpack takes no such frame"

    @pytest.mark.parametrize(
        ("language", "read"),
        [
            ("", []),
            (', "language": null', []),
            (', "language": "en"', ["en"]),
            (', "language": ["en", "de"]', ["en", "de"]),
        ],
    )
    def test_language(self, language: str, read: list[str]) -> None:
        assert FlowServer().receive(f'{{"type": "auth"{language}}}') == [SessionRequested(None, read)]


def test_only_the_latest_packets_are_known_when_they_come_again() -> None:
    """An hour of packets of one sample is bounded in memory; what a client repeats is always of late."""

    def append(position: int, packets: list[bytes]) -> Frame:
        return encode(Append(position, AudioPackets(packets, [0.0] * len(packets), 0.1, "binary")), Encoding.MSGPACK)

    server = FlowServer(encoding=Encoding.MSGPACK)
    server.receive(encode(Auth(), Encoding.MSGPACK))
    server.accept()
    many = [bytes([number % 250, number // 250 % 250]) for number in range(16_000)]
    for round_ in range(4):
        assert server.receive(append(16_000 * round_, many)) == [AudioReceived(b"".join(many))]
    assert server.receive(append(32_000, many[:5])) == []
    with pytest.raises(ClientProtocolError, match=r"append\.position: 0, expected 64000"):
        server.receive(append(0, many[:5]))


@pytest.mark.parametrize(
    ("context", "phrases"),
    [
        (None, ()),
        ("Ada", ()),
        ({"dictionary_context": "Ada"}, ()),
        ({"dictionary_context": {"Ada": 1}}, ()),
        ({"dictionary_context": [None, 7, ["Ada"], "Dashwood", {}]}, ("Dashwood",)),
        ({"user_first_name": 7, "user_last_name": "Lovelace"}, ("Lovelace",)),
        ({"conversation": "Ada"}, ()),
        ({"conversation": {"participants": "Ada"}}, ()),
        ({"conversation": {"participants": ["Ada", 7]}, "dictionary_context": ["Dashwood"]}, ("Dashwood", "Ada")),
        ({"dictionary_context": ["Dashwood"] * 16_000}, ("Dashwood",)),
        ({"dictionary_context": ["x" * 8_000_000, "Ada"]}, ("Ada",)),
    ],
    ids=range(11),
)
@pytest.mark.parametrize("encoding", [Encoding.JSON, Encoding.MSGPACK])
def test_a_lenient_server_passes_over_phrases_in_another_form(
    context: Any, phrases: tuple[str, ...], encoding: Encoding
) -> None:
    message = {"type": "auth", "context": context}
    frame = json.dumps(message) if encoding is Encoding.JSON else packed(message)
    assert FlowServer(encoding=encoding).receive(frame) == [SessionRequested(None, [], phrases)]
