"""The messages of tests/vectors/flow, in both roles and both encodings."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import msgpack
import pytest

from flowpi.core.errors import AnsweredInText, ProtocolError, RefusedError
from flowpi.wire.codec import Encoding, Frame
from flowpi.wire.flow import FlowClient, FlowServer
from flowpi.wire.flow_messages import App, Context, Conversation, ConversationMessage, TextboxContents
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientEvent,
    ClientProtocolError,
    FinalText,
    Notice,
    PartialText,
    SessionReady,
    SessionRequested,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "flow"
ENCODINGS = list(Encoding)
ONE, TWO = b"\1\0" * 160, b"\2\0" * 160
LETTER = Context(
    app=App("Letters", "email"),
    dictionary_context=("Debian", "Moonshine"),
    user_identifier="desk-7",
    user_first_name="Ada",
    user_last_name="Lovelace",
    textbox_contents=TextboxContents("Dear Bob, ", "", " Yours"),
)
CHAT = Context(
    app=App("Chat", "ai"),
    screenshot=b"\x89PNG\r\n\x1a\n",
    content_text="Ask me",
    content_html="<p>Ask me</p>",
    conversation=Conversation(
        "c-1",
        ("Ada", "Bob"),
        (
            ConversationMessage("user", "When do we meet?"),
            ConversationMessage("assistant", "At seven."),
            ConversationMessage("human", "Where?"),
        ),
    ),
)

ASKED = SessionRequested(None, ["en"])
CLIENT: list[tuple[str, list[Any] | str, str | None]] = [
    ("auth", [SessionRequested("eyJ.a.b", ["en"], ("Debian", "Moonshine", "Ada", "Lovelace"))], None),
    ("auth-bare", [SessionRequested(None, [])], None),
    ("auth-conversation", [SessionRequested("eyJ.a.b", [], ("Ada", "Bob"))], None),
    ("append", [AudioReceived(ONE + TWO)], None),
    ("commit", [AudioCommitted()], None),
    ("start", [SessionRequested("eyJ.a.b", ["en"])], r"^message\.type: "),
    ("auth-language-alone", [ASKED], r"^auth\.language: "),
    ("auth-language-region", [SessionRequested(None, ["en-US"])], r"^auth\.language\[0\]: "),
    ("auth-app-alone", [SessionRequested(None, [])], r"^auth\.context\.app: "),
    (
        "auth-app-type",
        [SessionRequested(None, [])],
        r"^auth\.context\.app\.type: ",
    ),
    ("auth-properties", [SessionRequested(None, [])], "^auth: .* unknown field `properties`$"),
    ("append-alone", [AudioReceived(ONE)], "^append: .* unknown field `audio`$"),
    ("append-pcm", [AudioReceived(ONE + ONE)], None),
    ("append-without-volumes", [AudioReceived(ONE)], r"^append\.audio_packets: .* missing required field `volumes`$"),
    ("append-volumes-missing-one", r"^append\.audio_packets\.volumes: one number for each", r"^append\.audio_packets"),
    (
        "append-short-packet",
        [AudioReceived(ONE + TWO[:160])],
        r"^append\.audio_packets\.packets\[1\]: 160 bytes of PCM; packet_duration makes it 320$",
    ),
    ("append-final", [AudioReceived(ONE)], "^append: .* unknown field `final`$"),
    ("append-too-far", r"^append\.position: 3, expected 0$", r"^append\.position: 3, expected 0$"),
    ("commit-too-many", r"^commit\.total_packets: 7, but 2 arrived$", r"^commit\.total_packets: 7, but 2 arrived$"),
    ("ping", [], r"^message\.type: "),
]
"""Name; what the lenient server makes of it, or why it refuses it; the departure that the strict one sees."""

MEET, SEVEN = PartialText("Meet at", "en"), FinalText("Meet at seven.", "en")
REFUSED = "the server refused: quota is used up"
SERVER: list[tuple[str, ClientEvent | str, str | None]] = [
    ("authenticated", SessionReady(), None),
    ("commit-received", Notice("info"), None),
    ("partial", MEET, None),
    ("final", SEVEN, None),
    ("final-unmarked", PartialText("Meet at seven.", "en"), None),
    ("final-in-body", SEVEN, r"unknown field `final` - at `\$\.body`|missing required field"),
    ("final-of-text-alone", FinalText("Meet at seven.", None), "missing required field"),
    ("session-started", SessionReady(), "'session_started'"),
    ("info-of-unknown-event", Notice("info"), "'warming_up'"),
    ("unknown-status", Notice("answer with an unknown status"), "'usage'"),
    ("error", REFUSED, None),
    ("error-message", REFUSED, None),
    ("error-event", REFUSED, None),
    ("error-message-detail", REFUSED, None),
    ("error-detail", REFUSED, None),
    ("error-body", REFUSED, None),
    ("error-answer", REFUSED, None),
]
"""Name; the client's event, or the refusal; the departure that the strict one sees."""


def vector(name: str, encoding: Encoding) -> Frame:
    if encoding is Encoding.JSON:
        return (VECTORS / f"{name}.json").read_text()
    return (VECTORS / f"{name}.msgpack").read_bytes()


def plain(frame: Frame) -> Any:
    """By decoders that are not the codec's."""
    return json.loads(frame) if isinstance(frame, str) else msgpack.unpackb(frame)


def ready_for(name: str, encoding: Encoding, *, strict: bool = False) -> FlowServer:
    """A server to which this message may be said: past what comes before it."""
    server = FlowServer(encoding=encoding, strict=strict)
    if name.startswith(("append", "commit")):
        server.receive(vector("auth", encoding))
        server.accept()
    if name.startswith("commit"):
        server.receive(vector("append", encoding))
    return server


def listening(name: str, encoding: Encoding, *, strict: bool = False) -> FlowClient:
    client = FlowClient(encoding=encoding, strict=strict)
    client.open()
    if name not in ("authenticated", "session-started"):
        client.receive(vector("authenticated", encoding))
        client.commit()
        if name != "commit-received":
            client.receive(vector("commit-received", encoding))
    return client


def as_binary(message: dict[str, Any]) -> dict[str, Any]:
    """The MessagePack form of a message in JSON."""
    if "audio" in message:
        message["audio"] = base64.b64decode(message["audio"])
    if audio := message.get("audio_packets"):
        audio |= {"packets": [base64.b64decode(packet) for packet in audio["packets"]], "byte_encoding": "binary"}
    if (context := message.get("context")) and context.get("screenshot"):
        context["screenshot"] = base64.b64decode(context["screenshot"])
    return message


class TestFiles:
    def test_the_table_names_every_message_and_this_module_too(self) -> None:
        rows = re.findall(r"^\| `(.*?)`", (VECTORS / "README.md").read_text(), re.MULTILINE)
        assert len(rows) == len(set(rows))
        assert {row[0] for row in (*CLIENT, *SERVER)} == set(rows)
        for suffix in ("json", "msgpack"):
            assert {path.stem for path in VECTORS.glob(f"*.{suffix}")} == set(rows)

    @pytest.mark.parametrize("name", [row[0] for row in (*CLIENT, *SERVER)])
    def test_both_files_say_the_same(self, name: str) -> None:
        assert as_binary(plain(vector(name, Encoding.JSON))) == plain(vector(name, Encoding.MSGPACK))


@pytest.mark.parametrize("encoding", ENCODINGS)
class TestClientMessages:
    @pytest.mark.parametrize(("name", "events", "departure"), CLIENT, ids=lambda value: str(value)[:30])
    def test_lenient_server(
        self, name: str, events: list[Any] | str, departure: str | None, encoding: Encoding
    ) -> None:
        server = ready_for(name, encoding)
        if isinstance(events, str):
            with pytest.raises(ClientProtocolError, match=events):
                server.receive(vector(name, encoding))
        else:
            assert server.receive(vector(name, encoding)) == events

    @pytest.mark.parametrize(("name", "events", "departure"), CLIENT, ids=lambda value: str(value)[:30])
    def test_strict_server(self, name: str, events: list[Any] | str, departure: str | None, encoding: Encoding) -> None:
        server = ready_for(name, encoding, strict=True)
        if departure is None:
            assert server.receive(vector(name, encoding)) == events
            return
        with pytest.raises(ClientProtocolError, match=departure) as caught:
            server.receive(vector(name, encoding))
        answer = plain(server.data_to_send()[-1])
        assert answer == {"status": "error", "error": str(caught.value), "message": str(caught.value)}

    @pytest.mark.parametrize(
        ("name", "of_client"),
        [
            ("auth-bare", {}),
            ("auth", {"access_token": "eyJ.a.b", "language": ["en-GB", "EN"], "context": LETTER}),
            ("auth-conversation", {"access_token": "eyJ.a.b", "context": CHAT}),
        ],
    )
    def test_the_client_writes_auth(self, name: str, of_client: dict[str, Any], encoding: Encoding) -> None:
        client = FlowClient(encoding=encoding, **of_client)
        client.open()
        (frame,) = client.data_to_send()
        expected = plain(vector(name, encoding))
        if "context" in expected:  # absent and null say the same, and so do absent and empty
            expected["context"] = {key: value for key, value in expected["context"].items() if value is not None}
        assert plain(frame) == {key: value for key, value in expected.items() if value != []}

    def test_the_client_writes_audio(self, encoding: Encoding) -> None:
        client = FlowClient(encoding=encoding, packet_ms=10)
        client.open()
        client.receive(vector("authenticated", encoding))
        client.append(ONE + TWO)
        client.commit()
        _, append, commit = map(plain, client.data_to_send())
        expected = plain(vector("append", encoding))
        assert len(append["audio_packets"].pop("volumes")) == len(expected["audio_packets"].pop("volumes"))
        assert (append, commit) == (expected, plain(vector("commit", encoding)))


@pytest.mark.parametrize("encoding", ENCODINGS)
class TestServerMessages:
    @pytest.mark.parametrize(("name", "event", "departure"), SERVER, ids=lambda value: str(value)[:30])
    def test_lenient_client(
        self, name: str, event: ClientEvent | str, departure: str | None, encoding: Encoding
    ) -> None:
        client = listening(name, encoding)
        if isinstance(event, str):
            with pytest.raises(RefusedError, match=f"^{event}$"):
                client.receive(vector(name, encoding))
        else:
            assert client.receive(vector(name, encoding)) == [event]

    @pytest.mark.parametrize(("name", "event", "departure"), SERVER, ids=lambda value: str(value)[:30])
    def test_strict_client(
        self, name: str, event: ClientEvent | str, departure: str | None, encoding: Encoding
    ) -> None:
        client = listening(name, encoding, strict=True)
        if isinstance(event, str):
            with pytest.raises(RefusedError, match=f"^{event}$"):
                client.receive(vector(name, encoding))
        elif departure is None:
            assert client.receive(vector(name, encoding)) == [event]
        else:
            with pytest.raises(ProtocolError, match=departure) as caught:
                client.receive(vector(name, encoding))
            assert not isinstance(caught.value, AnsweredInText)

    def test_the_server_writes_them(self, encoding: Encoding) -> None:
        server = ready_for("commit", encoding)
        server.position = 180
        server.partial("Meet at", "en")
        server.position = 205
        server.final("Meet at seven.", "en")
        server.fail("quota is used up")
        names = ["authenticated", "partial", "final", "error-answer"]
        assert [plain(frame) for frame in server.data_to_send()] == [plain(vector(name, encoding)) for name in names]

    def test_the_server_acknowledges_the_commit(self, encoding: Encoding) -> None:
        server = ready_for("commit", encoding)
        server.data_to_send()
        server.receive(vector("commit", encoding))
        assert [plain(frame) for frame in server.data_to_send()] == [plain(vector("commit-received", encoding))]
