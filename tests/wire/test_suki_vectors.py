"""The messages of tests/vectors/suki, in both roles."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowpi.core.errors import ProtocolError, RefusedError
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientEvent,
    ClientProtocolError,
    FinalText,
    PartialText,
)
from flowpi.wire.suki import SukiClient, SukiServer
from flowpi.wire.suki_messages import (
    AudioConfig,
    CreateSession,
    GrpcCode,
    LoggedIn,
    Login,
    Refusal,
    SessionCreated,
    SessionEnded,
    read_body,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "suki"
CHUNK = b"\1\0" * 1600
ID = "01JX0000000000000000000001"
SESSION = "0b7d6b1e-6a51-4f0e-9c0e-3d6f3f6a2b11"
PRESSURE, NORMAL = PartialText("Blood pressure", "en-US"), PartialText("Blood pressure is normal.", "en-US")

CLIENT: list[tuple[str, list[Any], str | None]] = [
    ("audio", [AudioReceived(CHUNK)], None),
    ("audio-under-data", [AudioReceived(CHUNK)], "frame: .* unknown field `data`"),
    ("audio-snake-case", [AudioReceived(CHUNK)], "frame: .* unknown field `audio_data`"),
    ("audio-without-type", [AudioReceived(CHUNK)], "frame: .* missing required field `type`"),
    ("audio-end", [AudioCommitted()], None),
    ("audio-end-in-data", [AudioCommitted()], "frame: .* unknown field `data`"),
    ("audio-end-ambient", [AudioCommitted()], "frame: .* unknown field `data`"),
    ("end-of-stream", [AudioCommitted()], "event: only AUDIO_END"),
    ("keep-alive", [], "event: only AUDIO_END"),
    ("start-time", [], "frame: .* 'START_TIME' - at `\\$.type`"),
]
"""File; what the lenient server makes of it; the departure that the strict one sees."""

SERVER: list[tuple[str, ClientEvent | str, str | None]] = [
    ("partial", PRESSURE, None),
    ("final", NORMAL, None),
    ("final-with-words", NORMAL, None),
    ("eof", FinalText("", "en-US"), None),
    ("eof-said-aloud", PartialText("EOF", "en-US"), None),
    ("partial-flat", PRESSURE, "frame: `transcript` is its only member"),
    ("final-flat", NORMAL, "frame: `transcript` is its only member"),
    ("eof-flat", FinalText("", "en-US"), "transcript: an object"),
    ("final-wrapped", NORMAL, "frame: `transcript` is its only member"),
    ("partial-without-is-final", PRESSURE, "is_final: in every transcript"),
    ("error", "the server refused: INTERNAL: internal", "refused"),
    (
        "error-older-form",
        "the server refused: FAILED_PRECONDITION: transcript session is not accepting new speech sessions",
        "refused",
    ),
    ("error-bare", "the server refused: UNAUTHENTICATED: token has expired", "frame: `transcript` is its only member"),
]
"""File; what the client makes of it, or why it raises; what the strict one says."""

REST: list[tuple[str, Any]] = [
    ("login", Login("partner", "eyJ.partner.token")),
    ("login-with-provider", Login("partner", "eyJ.partner.token", "provider")),
    ("logged-in", LoggedIn("eyJ.suki.token")),
    ("create", CreateSession(audio_config=AudioConfig())),
    ("create-with-id", CreateSession(SESSION)),
    ("created", SessionCreated(SESSION)),
    ("ended", SessionEnded()),
    (
        "refused",
        Refusal(GrpcCode.FAILED_PRECONDITION, "transcript session is not accepting new speech sessions").status,
    ),
]


def vector(name: str) -> str:
    return (VECTORS / f"{name}.json").read_text()


def listening(*, strict: bool = False) -> SukiClient:
    """All audio is sent."""
    client = SukiClient(strict=strict)
    client.open()
    client.commit()
    return client


def test_the_table_names_every_file_and_this_module_too() -> None:
    files = {path.name for path in VECTORS.glob("*.json")}
    assert set(re.findall(r"^\| `(.*?)`", (VECTORS / "README.md").read_text(), re.MULTILINE)) == files
    assert {f"{row[0]}.json" for row in (*CLIENT, *SERVER, *REST)} == files


class TestClientMessages:
    @pytest.mark.parametrize(("name", "events", "departure"), CLIENT, ids=lambda value: str(value)[:30])
    def test_lenient_server(self, name: str, events: list[Any], departure: str | None) -> None:
        assert SukiServer(transcript_id=ID).receive(vector(name)) == events

    @pytest.mark.parametrize(("name", "events", "departure"), CLIENT, ids=lambda value: str(value)[:30])
    def test_strict_server(self, name: str, events: list[Any], departure: str | None) -> None:
        server = SukiServer(transcript_id=ID, strict=True)
        if departure is None:
            assert server.receive(vector(name)) == events
        else:
            with pytest.raises(ClientProtocolError, match=departure):
                server.receive(vector(name))

    def test_the_client_writes_them(self) -> None:
        client = SukiClient()
        client.open()
        client.append(CHUNK)
        client.commit()
        assert [json.loads(frame) for frame in client.data_to_send()] == [
            json.loads(vector("audio")),
            json.loads(vector("audio-end")),
        ]

    def test_the_client_writes_the_other_audio_key(self) -> None:
        client = SukiClient(audio_key="data")
        client.open()
        client.append(CHUNK)
        assert [json.loads(frame) for frame in client.data_to_send()] == [json.loads(vector("audio-under-data"))]


class TestServerMessages:
    @pytest.mark.parametrize(("name", "event", "departure"), SERVER, ids=lambda value: str(value)[:30])
    def test_lenient_client(self, name: str, event: ClientEvent | str, departure: str | None) -> None:
        if isinstance(event, str):
            with pytest.raises(RefusedError, match=f"^{event}$"):
                listening().receive(vector(name))
        else:
            assert listening().receive(vector(name)) == [event]

    @pytest.mark.parametrize(("name", "event", "departure"), SERVER, ids=lambda value: str(value)[:30])
    def test_strict_client(self, name: str, event: ClientEvent | str, departure: str | None) -> None:
        if departure is None:
            assert listening(strict=True).receive(vector(name)) == [event]
        else:
            with pytest.raises(RefusedError if departure == "refused" else ProtocolError, match=departure):
                listening(strict=True).receive(vector(name))

    @pytest.mark.parametrize("suffix", ["", "-flat"])
    def test_the_server_writes_them(self, suffix: str) -> None:
        server = SukiServer(transcript_id=ID, flat=bool(suffix))
        server.partial("Blood pressure", "en")
        server.final("Blood pressure is normal.", "en")
        names = [f"{name}{suffix}" for name in ("partial", "final", "eof")]
        assert [json.loads(frame) for frame in server.data_to_send()] == [json.loads(vector(name)) for name in names]

    def test_the_server_writes_errors(self) -> None:
        server = SukiServer(transcript_id=ID)
        server.fail("internal")
        (frame,) = server.data_to_send()
        assert json.loads(frame) == {"error": {"code": 2, "message": "internal"}}


class TestRest:
    @pytest.mark.parametrize(("name", "body"), REST, ids=lambda value: str(value)[:30])
    def test_round_trip(self, name: str, body: msgspec.Struct) -> None:
        assert msgspec.json.decode(vector(name), type=type(body)) == body
        assert json.loads(msgspec.json.encode(body)) == json.loads(vector(name))

    def test_an_empty_body_creates_a_session(self) -> None:
        assert read_body(b"", CreateSession) == CreateSession()

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"{", "body: not JSON"),
            (b"\xff", "body: not JSON"),
            (b'{"a":' * 10_000, "body: not JSON"),
            (b"[]", "body: Expected `object`, got `array`"),
            (b'{"audio_config": {"sample_rate_hertz": "16000"}}', "at `$.audio_config.sample_rate_hertz`"),
            (b'{"transcription_session_id": "seven"}', "at `$.transcription_session_id`"),
            (f'{{"transcription_session_id": "{SESSION}\\n"}}'.encode(), "at `$.transcription_session_id`"),
        ],
    )
    def test_a_body_that_does_not_fit(self, body: bytes, message: str) -> None:
        with pytest.raises(Refusal) as caught:
            read_body(body, CreateSession)
        assert message in str(caught.value)
        assert (caught.value.http_status, caught.value.status.code) == (400, 3)

    def test_a_login_names_what_is_missing_and_shows_no_token(self) -> None:
        with pytest.raises(Refusal, match=r"^body: Object missing required field `partner_token`$"):
            read_body(b'{"partner_id": "p"}', Login)
        with pytest.raises(Refusal) as caught:
            read_body(b'{"partner_id": 7, "partner_token": "canary"}', Login)
        assert "canary" not in str(caught.value)
