"""The targets: each role of each protocol, used as its driver does, with the frames of an input. Any error is a find.

The bytes of an input are explained in `frames.py`. Its options choose the encoding, the strictness, and how far the
utterance is when the arbitrary frames begin.
"""

from collections.abc import Callable, Iterable
from typing import Any, assert_never

from msgspec import Struct

from flowpi.core.errors import BackendError, RefusedError
from flowpi.core.failover import verdict
from flowpi.core.phrases import chosen
from flowpi.wire.codec import Encoding, Frame, decode, encode
from flowpi.wire.flow import FlowClient, FlowServer
from flowpi.wire.flow_messages import Authenticated, ServerMessage
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientEvent,
    ClientProtocolError,
    ClientRole,
    FinalText,
    Notice,
    PartialText,
    ServerEvent,
    ServerRole,
    SessionReady,
    SessionRequested,
)
from flowpi.wire.suki import SukiClient, SukiServer
from tests.fuzz.frames import Arrival, unpack
from tests.terminal import acting

CLOSES = (1000, None, 1005, 1001, 1008, 1011, 3000, 4401)
OWN_BYTES = 4096
"""The bytes that a role may hold or send at once besides those it received: packet headers, names, refusals."""
REASON_CHARS = 400


class ClientRun:
    """The client's end, used as in `backends/session.py`.

    Args:
        stage: what has happened before: 0 nothing, 1 the session is open, 2 audio was sent, 3 all audio was sent.
    """

    def __init__(self, client: ClientRole, stage: int, ready: Frame | None) -> None:
        """`ready`: the frame that opens the session, or None if the upgrade does."""
        self._client = client
        self._open = False
        self._committed = False
        self._received = 0
        self.over = False
        self._see(client.open())
        if stage >= 1 and ready is not None:
            self._see(client.receive(ready))
        if stage >= 2:
            self._act(1)
        if stage >= 3:
            self._act(2)

    def take(self, arrival: Arrival) -> None:
        self._act(arrival.action)
        self._client.data_to_send()
        self._received += len(arrival.frame)
        try:
            self._see(self._client.receive(arrival.frame))
        except BackendError as error:
            self._check_error(error)
        assert not self._client.data_to_send(), "a client answers no frame"
        assert held(self._client) <= OWN_BYTES + self._received, "it keeps more than it was sent"

    def close(self, code: int | None) -> None:
        try:
            self._see(self._client.receive_close(code, "\x1b[31mgone" * 20))
        except BackendError as error:
            self._check_error(error)
        assert self.over or self._is_done(), "closed, and neither a text nor an error"

    def _is_done(self) -> bool:
        return bool(getattr(self._client, "state").value == "done")  # noqa: B009 - not in the Protocol

    def _act(self, action: int) -> None:
        if not self._open or self._committed:
            return
        if action == 1:
            self._client.append(bytes(self._client.packet_bytes))
        elif action == 2:
            self._client.commit(b"\1\0")
            self._committed = True
        for frame in self._client.data_to_send():
            assert len(frame) <= 3 * self._client.packet_bytes

    def _see(self, events: Iterable[ClientEvent]) -> None:
        for event in events:
            match event:
                case SessionReady():
                    assert not self._open, "opened twice"
                    self._open = True
                case PartialText(text, language):
                    self._check_text(text, language)
                case FinalText(text, language):
                    self._check_text(text, language)
                    assert self._committed, "a final text of half the audio"
                    self.over = True
                case Notice(what):
                    assert len(what) <= REASON_CHARS
                case _:
                    assert_never(event)

    def _check_text(self, text: str, language: str | None) -> None:
        assert len((text + (language or "")).encode()) <= OWN_BYTES + 4 * self._received

    def _check_error(self, error: BackendError) -> None:
        _check_words(error)
        verdict(error)
        self.over = True


class ServerRun:
    """The server's end, used as in `server/connection.py`. `stage`: as for `ClientRun`."""

    def __init__(self, server: ServerRole, judge: Callable[[Frame], object]) -> None:
        """`judge`: receives what the server sends, as its client would."""
        self._server = server
        self._judge = judge
        self._requested = False
        self._committed = False
        self._received = 0
        self._heard = 0
        self.over = False
        self._see(server.open())

    def take(self, arrival: Arrival) -> None:
        self._act(arrival.action)
        self._flush()
        if self.over:
            return
        self._received += len(arrival.frame)
        try:
            self._see(self._server.receive(arrival.frame))
        except ClientProtocolError as departure:
            _check_words(departure)
            self._flush(refused=True)
            self.over = True
        self._flush()
        assert held(self._server) <= OWN_BYTES + self._received, "it keeps more than it was sent"

    def close(self) -> None:
        """End the session, as the driver can at any time."""
        if not self.over:
            self._server.fail("internal")
            self._flush(refused=True)

    def _act(self, action: int) -> None:
        if not self._requested or self.over:
            return
        if action == 1 and not self._committed:
            self._server.partial('it "was"\x00\U0001f600', "en")
        elif action == 2 and self._committed:
            self._server.final("it was", "en")
            self.over = True

    def _see(self, events: Iterable[ServerEvent]) -> None:
        for event in events:
            match event:
                case SessionRequested(token, language, phrases):
                    assert not self._requested, "requested twice"
                    assert token is None or isinstance(token, str)
                    assert all(isinstance(tag, str) for tag in language)
                    assert phrases == chosen(phrases)
                    self._requested = True
                    self._server.accept()
                case AudioReceived(pcm):
                    assert self._requested, "audio before the session"
                    assert not self._committed, "audio after its end"
                    assert len(pcm) % 2 == 0
                    self._heard += len(pcm)
                    assert self._heard <= self._received, "more audio than was sent"
                case AudioCommitted():
                    assert self._requested, "an end before the session"
                    assert not self._committed, "ended twice"
                    self._committed = True
                case _:
                    assert_never(event)

    def _flush(self, *, refused: bool = False) -> None:
        frames = self._server.data_to_send()
        assert sum(map(len, frames)) <= 2 * OWN_BYTES
        refusals = 0
        for frame in frames:
            try:
                self._judge(frame)
            except RefusedError:
                refusals += 1
        assert refusals == refused, "a client would not understand"


def _check_words(error: Exception) -> None:
    """Check that the message of an error is safe for the log and the user's terminal."""
    assert len(str(error)) <= REASON_CHARS
    assert not acting(str(error))


def held(value: Any) -> int:
    """Return the number of characters and bytes in a value and in what it refers to."""
    match value:
        case str() | bytes() | bytearray():
            return len(value)
        case dict():
            return sum(8 + held(key) + held(item) for key, item in value.items())
        case list() | tuple() | set():
            return sum(8 + held(item) for item in value)
        case Struct():
            return sum(held(getattr(value, name)) for name in value.__struct_fields__)
        case FlowClient() | FlowServer() | SukiClient() | SukiServer():
            return held(vars(value))
        case _:
            return 8


def _judge_flow(frame: Frame) -> None:
    message: ServerMessage = decode(frame, ServerMessage)
    FlowClient(encoding=Encoding.JSON).receive(encode(message, Encoding.JSON))


def _judge_suki(frame: Frame) -> None:
    client = SukiClient()
    client.open()
    client.commit()
    client.receive(frame)


def flow_client(data: bytes) -> None:
    options, arrivals = unpack(data)
    encoding = Encoding.MSGPACK if options & 1 else Encoding.JSON
    client = FlowClient(encoding=encoding, access_token="jwt", language=["en"], packet_ms=10, wav=bool(options & 2))
    _run_client(ClientRun(client, options >> 2 & 3, encode(Authenticated(), encoding)), arrivals, options)


def suki_client(data: bytes) -> None:
    options, arrivals = unpack(data)
    client = SukiClient(audio_key="data" if options & 1 else "audioData", strict=bool(options & 2))
    _run_client(ClientRun(client, options >> 2 & 3, None), arrivals, options)


def flow_server(data: bytes) -> None:
    options, arrivals = unpack(data)
    encoding = Encoding.MSGPACK if options & 1 else Encoding.JSON
    server = FlowServer(encoding=encoding, strict=bool(options & 2))
    _run_server(ServerRun(server, _judge_flow), arrivals)


def suki_server(data: bytes) -> None:
    options, arrivals = unpack(data)
    server = SukiServer(transcript_id="01JX0000000000000000000001", strict=bool(options & 2), flat=bool(options & 1))
    _run_server(ServerRun(server, _judge_suki), arrivals)


def _run_client(run: ClientRun, arrivals: Iterable[Arrival], options: int) -> None:
    for arrival in arrivals:
        run.take(arrival)
        if run.over:
            return
    run.close(CLOSES[options >> 4 & 7])


def _run_server(run: ServerRun, arrivals: Iterable[Arrival]) -> None:
    for arrival in arrivals:
        run.take(arrival)
        if run.over:
            return
    run.close()


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {
    "flow-client": flow_client,
    "flow-server": flow_server,
    "suki-client": suki_client,
    "suki-server": suki_server,
}
