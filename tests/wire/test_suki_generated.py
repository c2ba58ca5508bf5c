"""The Suki dialect on generated dictations, and on what a stranger might send."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowpi.core.errors import ClosedError, ProtocolError, RefusedError
from flowpi.wire.codec import Frame
from flowpi.wire.roles import (
    AudioCommitted,
    AudioReceived,
    ClientProtocolError,
    FinalText,
    PartialText,
    ServerEvent,
)
from flowpi.wire.suki import CHUNK_BYTES, SukiClient, SukiServer
from tests.wire.test_suki import ID, Ends, listening, streaming, take

generated = settings(derandomize=True, suppress_health_check=list(HealthCheck))
HUNDREDS = settings().max_examples // 100
"""More in the long form."""


# Generated dictations: sound in pieces, as a microphone gives it, and what the server says between them.

pieces = st.lists(st.binary(max_size=8000).map(lambda pcm: pcm[: len(pcm) // 2 * 2]), max_size=6)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("EOF")


def heard(events: list[ServerEvent]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, AudioReceived))


@pytest.mark.parametrize(
    ("of_client", "of_server"),
    [({}, {"strict": True}), ({"strict": True}, {})],
    ids=["strict server", "strict client"],
)
@given(sound=pieces, partials=st.lists(texts, max_size=6), final=texts)
@settings(generated, max_examples=200 * HUNDREDS)
def test_both_ends_agree(
    of_client: dict[str, Any], of_server: dict[str, Any], sound: list[bytes], partials: list[str], final: str
) -> None:
    pair = Ends(SukiClient(**of_client), SukiServer(transcript_id=ID, **of_server))
    pair.client.open()
    arrived, tail = b"", b""
    for index, pcm in enumerate(sound):
        tail += pcm
        whole = len(tail) - len(tail) % CHUNK_BYTES
        pair.client.append(tail[:whole])
        tail = tail[whole:]
        arrived += heard(pair.to_server())
        if index < len(partials):
            pair.server.partial(partials[index], "en")
            assert pair.to_client() == [PartialText(partials[index], "en-US")]
    pair.client.commit(tail)
    *rest, end = pair.to_server()
    assert end == AudioCommitted()
    spoken = b"".join(sound)
    assert arrived + heard(rest) == spoken + bytes(-len(spoken) % CHUNK_BYTES)
    pair.server.final(final, "en")
    assert pair.to_client()[-1] == FinalText(final, "en-US")
    assert pair.client.receive_close(1000) == []


def nested(transcript: dict[str, Any]) -> str:
    return json.dumps({"transcript": transcript})


def wrapped(transcript: dict[str, Any]) -> str:
    return json.dumps({"result": {"transcript": transcript}})


@given(
    data=st.data(),
    segments=st.lists(st.lists(texts, min_size=1, max_size=4), max_size=5),
    form=st.sampled_from([nested, json.dumps, wrapped]),
)
@settings(generated, max_examples=200 * HUNDREDS)
def test_many_segments_at_once(data: st.DataObject, segments: list[list[str]], form: Any) -> None:
    """Each segment has some partials and a final; they come mixed, each in its own order."""
    client = listening(strict=form is nested)
    turns = data.draw(st.permutations([number for number, said in enumerate(segments) for _ in said]))
    left = [list(said) for said in segments]
    for number in turns:
        text = left[number].pop(0)
        client.receive(form({"transcript": text, "is_final": not left[number], "transcript_id": f"id {number}"}))
    finals = [segments[number][-1] for number in dict.fromkeys(turns)]
    assert take(client, form({"transcript": "EOF"})) == FinalText(" ".join(filter(None, finals)), "en-US")


# What a stranger might send: the messages of the vectors, whole, cut, spliced and with other values; and anything.

MESSAGES = [path.read_text() for path in sorted((Path(__file__).parent.parent / "vectors" / "suki").glob("*.json"))]
OF_CLIENTS = ["type", "event", "data", "audioData", "audio_data", "end_of_stream"]
OF_SERVERS = ["transcript", "is_final", "transcript_id", "result", "error", "code", "message"]
keys = st.sampled_from([*OF_CLIENTS, *OF_SERVERS]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(["EOF", "RU9G"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(MESSAGES))
    for _ in range(draw(st.integers(0, 3))):
        at, upto = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        text = text[:at] + draw(st.text(max_size=3) | st.sampled_from(MESSAGES)) + text[upto:]
    return text


@st.composite
def retold(draw: st.DrawFn) -> str:
    message = json.loads(draw(st.sampled_from(MESSAGES)))
    message.update(draw(st.dictionaries(keys, values, min_size=1, max_size=3)))
    return json.dumps(message)


frames = st.sampled_from(MESSAGES) | mutated() | retold() | values.map(json.dumps) | st.text() | st.binary()


@given(strict=st.booleans(), received=st.lists(frames, max_size=6))
@settings(generated, max_examples=500 * HUNDREDS)
def test_a_server_survives_anything(strict: bool, received: list[Frame]) -> None:
    server = SukiServer(transcript_id=ID, strict=strict)
    for frame in received:
        server.data_to_send()
        with contextlib.suppress(ClientProtocolError):
            assert not len(heard(server.receive(frame))) % 2
            assert server.data_to_send() == []
    server.final("text", "en")
    assert [json.loads(str(frame)) for frame in server.data_to_send()]


@given(
    strict=st.booleans(),
    received=st.lists(frames, max_size=6),
    end_after=st.integers(0, 6),
    code=st.none() | st.integers(1000, 4999),
)
@settings(generated, max_examples=500 * HUNDREDS)
def test_a_client_survives_anything(strict: bool, received: list[Frame], end_after: int, code: int | None) -> None:
    client = streaming(strict=strict)
    with contextlib.suppress(ProtocolError, RefusedError, ClosedError):
        for number, frame in enumerate(received):
            if number == end_after:
                client.commit()
            client.receive(frame)
        client.receive_close(code)
