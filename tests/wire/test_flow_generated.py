"""The Flow dialect on generated dictations, and on what a stranger might send."""

import contextlib
import json
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowpi.core.errors import ClosedError, ProtocolError, RefusedError
from flowpi.dsp.format import RATE_HZ
from flowpi.wire.codec import Encoding, Frame
from flowpi.wire.flow import FlowClient, FlowClientState, FlowServer, FlowServerState
from flowpi.wire.flow_messages import App, Context, TextboxContents
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientProtocolError,
    FinalText,
    PartialText,
    ServerEvent,
    SessionReady,
)
from tests.wire.test_flow import Ends
from tests.wire.test_flow_vectors import CLIENT, SERVER, plain, vector

generated = settings(derandomize=True, suppress_health_check=list(HealthCheck))
HUNDREDS = settings().max_examples // 100
"""More in the long form."""

encodings = st.sampled_from(Encoding)

# Generated dictations: sound in appends of any size, and what the server says between them.

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
some = st.none() | words
contexts = st.builds(
    Context,
    app=st.none() | st.builds(App, some, st.sampled_from(["email", "ai", "other", None])),
    dictionary_context=st.lists(words, max_size=3).map(tuple),
    textbox_contents=st.none() | st.builds(TextboxContents, some, some, some),
    screenshot=st.none() | st.binary(max_size=50),
)
languages = st.lists(st.sampled_from(["en", "en-US", "DE", "pt_BR", "yue"]), max_size=4)
NOISE = bytes(range(251)) * (20 * RATE_HZ * 2 // 251 + 1)
"""Twenty seconds in which every piece of a packet's length differs from its neighbours."""


def heard(events: list[ServerEvent]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, AudioReceived))


@pytest.mark.parametrize(
    ("of_client", "of_server"),
    [({}, {"strict": True}), ({"strict": True}, {})],
    ids=["strict server", "strict client"],
)
@given(
    encoding=encodings,
    context=contexts,
    language=languages,
    packet_ms=st.integers(10, 1000),
    frames=st.integers(0, 20 * RATE_HZ),
    packets_per_append=st.integers(1, 100),
    partials=st.lists(words, max_size=4),
    final=words,
)
@settings(generated, max_examples=100 * HUNDREDS)
def test_both_ends_agree(
    of_client: dict[str, Any],
    of_server: dict[str, Any],
    encoding: Encoding,
    context: Context,
    language: list[str],
    packet_ms: int,
    frames: int,
    packets_per_append: int,
    partials: list[str],
    final: str,
) -> None:
    client = FlowClient(encoding=encoding, language=language, context=context, packet_ms=packet_ms, **of_client)
    pair = Ends(client, FlowServer(encoding=encoding, **of_server))
    client.open()
    (request,) = pair.to_server()
    assert all(tag in ("en", "de", "pt", "yue") for tag in request.language)
    pair.server.accept()
    assert pair.to_client() == [SessionReady()]
    spoken, arrived = NOISE[: 2 * frames], b""
    step = packets_per_append * client.packet_bytes
    whole = len(spoken) - len(spoken) % step
    for at in range(0, whole, step):
        client.append(spoken[at : at + step])
        arrived += heard(pair.to_server())
        if partials:
            pair.server.partial(text := partials.pop(), "en")
            assert pair.to_client() == [PartialText(text, "en")]
    client.commit(spoken[whole:])
    *rest, end = pair.to_server()
    assert end == AudioCommitted()
    assert arrived + heard(rest) == spoken + bytes(-len(spoken) % client.packet_bytes)
    pair.server.final(final, "en")
    assert pair.to_client()[-1] == FinalText(final, "en")
    assert client.receive_close(1000) == []


# What a stranger might send: the messages of the vectors, whole, cut, spliced and with other values; and anything.

# Drawn by a generator of our own from a seed: trees of hypothesis took ten times as long.

NAMES = [row[0] for row in (*CLIENT, *SERVER)]
MESSAGES = {encoding: [vector(name, encoding) for name in NAMES] for encoding in Encoding}
KEYS = [
    *("type", "access_token", "language", "context", "position", "audio_packets", "packets", "volumes", "audio"),
    *("packet_duration", "byte_encoding", "audio_encoding", "total_packets", "status", "final", "body", "text"),
    *("detected_language", "error", "message", "detail", "event", "", "x"),
]
LEAVES = [
    *(None, True, False, 0, 1, -1, 2, 2**63, -(2**63), 2**64 - 1, 0.01, -0.5, 1e308, float("nan"), float("inf")),
    *("", "en", "en-US", "AAA=", "UklGR", "\U0001f600", "\0", "x" * 300, "base64", "binary", "wav", "opus"),
    *("auth", "append", "commit", "info", "text", "error", "commit_received", "session_started"),
]
BINARY = [b"", b"RIFF", b"\1\0", b"\1", bytes(44), b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0"]


def value(draw: Random, encoding: Encoding, depth: int = 3) -> Any:
    match draw.randrange(6 if depth else 4):
        case 4:
            return [value(draw, encoding, depth - 1) for _ in range(draw.randrange(4))]
        case 5:
            return {draw.choice(KEYS): value(draw, encoding, depth - 1) for _ in range(draw.randrange(4))}
        case 3 if encoding is Encoding.MSGPACK:
            return draw.choice(BINARY)
        case _:
            return draw.choice(LEAVES)


def written(message: Any, encoding: Encoding) -> Frame:
    return json.dumps(message) if encoding is Encoding.JSON else bytes(msgpack.packb(message))


def spliced(draw: Random, encoding: Encoding) -> Frame:
    frame: Any = draw.choice(MESSAGES[encoding])
    for _ in range(draw.randint(1, 3)):
        at, upto = sorted(draw.choices(range(len(frame) + 1), k=2))
        between: Any = draw.choice(["", "{", '"', "\ud800"]) if isinstance(frame, str) else draw.randbytes(2)
        frame = frame[:at] + between + frame[upto:]
    return frame  # type: ignore[no-any-return]


def retold(draw: Random, encoding: Encoding) -> Frame:
    """With another value in it, or in a member of it."""
    message = plain(draw.choice(MESSAGES[encoding]))
    place = draw.choice([message, *(part for part in message.values() if isinstance(part, dict))])
    place[draw.choice([*place, *place, *KEYS])] = value(draw, encoding)
    return written(message, encoding)


def stranger(draw: Random, encoding: Encoding) -> Frame:
    if draw.random() < 0.02:
        encoding = draw.choice(list(Encoding))
    match draw.randrange(8):
        case 0:
            return spliced(draw, encoding)
        case 1:
            return written(value(draw, encoding), encoding)
        case 2 | 3 | 4:
            return retold(draw, encoding)
        case _:
            return draw.choice(MESSAGES[encoding])


seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("encoding", list(Encoding))
@given(seed=seeds)
@settings(generated, max_examples=250 * HUNDREDS)
def test_a_server_survives_anything(seed: int, encoding: Encoding, strict: bool) -> None:
    draw = Random(seed)
    server = FlowServer(encoding=encoding, strict=strict)
    if draw.random() < 0.8:
        server.receive(vector("auth", encoding))
        if draw.random() < 0.8:
            server.accept()
            server.data_to_send()
    for _ in range(6):
        position, state = server.position, server.state
        refused = None
        try:
            pcm = heard(server.receive(stranger(draw, encoding)))
            assert len(pcm) % 2 == 0
            assert server.position >= position
        except ClientProtocolError as departure:
            refused = str(departure)
        answers = list(map(plain, server.data_to_send()))
        if refused is not None:
            assert (server.position, server.state) == (position, FlowServerState.FAILED)
            assert answers[-1] == {"status": "error", "error": refused, "message": refused}
        elif state is FlowServerState.FAILED:
            assert (server.position, server.state, answers) == (position, state, [])
    server.partial("text", "en")
    server.final("text", "en")
    assert len([plain(frame) for frame in server.data_to_send()]) == 2


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize("encoding", list(Encoding))
@given(seed=seeds)
@settings(generated, max_examples=250 * HUNDREDS)
def test_a_client_survives_anything(seed: int, encoding: Encoding, strict: bool) -> None:
    draw = Random(seed)
    client = FlowClient(encoding=encoding, strict=strict)
    client.open()
    if draw.random() < 0.8:
        client.receive(vector("authenticated", encoding))
    for _ in range(6):
        if client.state is FlowClientState.STREAMING and draw.random() < 0.4:
            client.commit()
        state = client.state
        try:
            client.receive(stranger(draw, encoding))
        except RefusedError:
            assert client.state is FlowClientState.DONE is not state
        except ProtocolError:
            assert client.state is state
    with contextlib.suppress(ClosedError, ProtocolError):
        client.receive_close(draw.choice([None, 1000, 1005, 1011, 4000]))
    assert all(map(plain, client.data_to_send()))
