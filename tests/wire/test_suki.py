"""The Suki dialect: two ends in memory, and each end against what a stranger might send."""

import base64
import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest

from flowpi.core.errors import ClosedError, ProtocolError, RefusedError
from flowpi.wire.codec import Frame
from flowpi.wire.roles import (
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
from flowpi.wire.suki import CHUNK_BYTES, SukiClient, SukiServer

CHUNK = bytes(range(256)) * 12 + bytes(128)
ID = "01JX0000000000000000000001"


@dataclasses.dataclass
class Ends:
    """A client and a server with nothing between them."""

    client: SukiClient
    server: SukiServer

    def to_server(self) -> list[ServerEvent]:
        return [event for frame in self.client.data_to_send() for event in self.server.receive(frame)]

    def to_client(self) -> list[ClientEvent]:
        return [event for frame in self.server.data_to_send() for event in self.client.receive(frame)]


def ends(*, strict: bool = True, flat: bool = False, **of_client: Any) -> Ends:
    pair = Ends(SukiClient(strict=strict, **of_client), SukiServer(transcript_id=ID, strict=strict, flat=flat))
    assert pair.server.open() == [SessionRequested(None, ["en"])]
    pair.server.accept()
    assert pair.client.open() == [SessionReady()]
    return pair


def streaming(*, strict: bool = False) -> SukiClient:
    client = SukiClient(strict=strict)
    client.open()
    return client


def listening(*, strict: bool = False) -> SukiClient:
    """All audio is sent."""
    client = streaming(strict=strict)
    client.commit()
    return client


def said(text: str, transcript_id: str | None = None, is_final: bool | None = None, **more: Any) -> str:
    """A transcript in the nested form; what is None is left out."""
    members = {"transcript": text, "is_final": is_final, "transcript_id": transcript_id, **more}
    return json.dumps({"transcript": {name: value for name, value in members.items() if value is not None}})


EOF = said("EOF")


def take(client: SukiClient, *frames: str) -> ClientEvent:
    """What the last frame leads to."""
    events = [event for frame in frames for event in client.receive(frame)]
    return events[-1]


def audio(pcm: bytes, key: str = "audioData", **more: Any) -> str:
    return json.dumps({"type": "AUDIO", key: base64.b64encode(pcm).decode(), **more})


def refusal(server: SukiServer, frame: Frame, code: int = 1002) -> str:
    """What the server says when it turns the frame down, to its driver and to the client alike."""
    server.data_to_send()
    with pytest.raises(ClientProtocolError) as caught:
        server.receive(frame)
    (answer,) = server.data_to_send()
    assert isinstance(answer, str)
    assert json.loads(answer) == {"error": {"code": 3, "message": str(caught.value)}}
    assert caught.value.close_code == code
    return str(caught.value)


class TestUtterance:
    @pytest.mark.parametrize("flat", [False, True], ids=["nested", "flat"])
    def test_whole(self, flat: bool) -> None:
        pair = ends(strict=not flat, flat=flat)
        pair.client.append(CHUNK * 2)
        assert pair.to_server() == [AudioReceived(CHUNK), AudioReceived(CHUNK)]
        pair.server.partial("It was", "en")
        assert pair.to_client() == [PartialText("It was", "en-US")]
        pair.client.commit(CHUNK + b"\1\0")
        assert pair.to_server() == [
            AudioReceived(CHUNK),
            AudioReceived(b"\1\0" + bytes(CHUNK_BYTES - 2)),
            AudioCommitted(),
        ]
        pair.server.final("It was the best.", "en")
        assert pair.to_client() == [PartialText("It was the best.", "en-US"), FinalText("It was the best.", "en-US")]
        assert pair.client.receive_close(1000) == []

    def test_nothing_was_said(self) -> None:
        pair = ends()
        pair.client.commit()
        assert pair.to_server() == [AudioCommitted()]
        pair.server.final("", "en")
        assert pair.to_client()[-1] == FinalText("", "en-US")

    def test_the_server_fails(self) -> None:
        pair = ends()
        pair.server.fail("the engine is gone")
        with pytest.raises(RefusedError, match=r"^the server refused: UNKNOWN: the engine is gone$"):
            pair.to_client()
        assert pair.client.receive_close(1011) == []

    def test_the_text_has_the_language_that_was_configured(self) -> None:
        pair = ends(language="en-GB")
        pair.server.partial("colour", "en")
        assert pair.to_client() == [PartialText("colour", "en-GB")]

    def test_every_chunk_is_the_same_on_the_wire(self) -> None:
        client = streaming()
        client.append(CHUNK)
        client.commit(CHUNK[:2])
        *chunks, end = [json.loads(str(frame)) for frame in client.data_to_send()]
        assert [len(chunk["audioData"]) for chunk in chunks] == [4268, 4268]  # K7
        assert end == {"type": "EVENT", "event": "AUDIO_END"}


class TestAssembly:
    def test_a_later_transcript_replaces_the_earlier_of_its_segment(self) -> None:
        client = listening()
        take(client, said("take two", "a", False), said("take two tablets", "a", False), said("Take 2.", "a", True))
        assert take(client, EOF) == FinalText("Take 2.", "en-US")

    def test_segments_stand_in_the_order_of_their_first_word(self) -> None:
        client = listening()
        frames = said("one", "b", False), said("two", "a", False), said("Two.", "a", True), said("One.", "b", True)
        assert take(client, *frames) == PartialText("One. Two.", "en-US")
        assert take(client, EOF) == FinalText("One. Two.", "en-US")

    def test_a_partial_text_is_the_whole_text_so_far(self) -> None:
        assert take(streaming(), said("One.", "a", True), said("two", "b", False)) == PartialText("One. two", "en-US")

    def test_what_is_final_stays(self) -> None:
        client = listening()
        event = take(client, said("One.", "a", True), said("Two.", "a", True))
        assert event == Notice("transcript_id: a segment changed after it was final")
        assert take(client, EOF) == FinalText("One.", "en-US")

    def test_empty_ones_are_ignored(self) -> None:
        client = listening()
        assert take(client, said("", "a", True), said("b", "b", True), said("", "c", False)) == PartialText(
            "b", "en-US"
        )

    def test_a_segment_can_be_taken_back(self) -> None:
        assert take(listening(), said("hm", "a", False), said("", "a", True), EOF) == FinalText("", "en-US")

    def test_what_never_became_final_is_kept_in_its_place(self) -> None:
        client = listening()
        event = take(client, said("One.", "a", True), said("two", "b", False), said("Three.", "c", True), EOF)
        assert event == FinalText("One. two Three.", "en-US")

    @pytest.mark.parametrize("transcript_id", [None, ""])
    def test_without_ids_each_final_ends_a_segment(self, transcript_id: str | None) -> None:
        client = listening()
        texts = [("one", None), ("One.", True), ("two", False), ("Two.", True)]
        take(client, *(said(text, transcript_id, is_final) for text, is_final in texts))
        assert take(client, EOF) == FinalText("One. Two.", "en-US")

    def test_members_beside_the_nested_transcript(self) -> None:
        client = listening()
        final = json.dumps({"transcript": {"transcript": "EOF"}, "is_final": True, "transcript_id": "a"})
        assert take(client, final) == PartialText("EOF", "en-US")
        assert isinstance(take(client, said("changed", "a", True)), Notice)
        within = json.dumps(
            {"transcript": {"transcript": "b", "is_final": False, "transcript_id": "b"}, "is_final": True}
        )
        assert take(client, within, said("B.", "b", True)) == PartialText("EOF B.", "en-US")


class TestEof:
    @pytest.mark.parametrize(
        "frame",
        [
            said("EOF", "a", True),
            said("EOF", "a", False),
            said("EOF", "a"),
            said("EOF", None, True),
            said("EOF", None, False),
            said("EOF."),
            said("eof"),
            said(" EOF"),
            json.dumps({"transcript": "EOF", "is_final": True}),
        ],
    )
    def test_said_aloud(self, frame: str) -> None:
        client = listening()
        event = take(client, frame)
        assert isinstance(event, PartialText)
        assert take(client, EOF) == FinalText(event.text, "en-US")
        assert event.text

    @pytest.mark.parametrize(
        "frame",
        [EOF, '{"transcript": "EOF"}', '{"result": {"transcript": {"transcript": "EOF"}}}', said("EOF", "")],
    )
    def test_the_end(self, frame: str) -> None:
        assert take(listening(), frame) == FinalText("", "en-US")

    def test_before_the_end_of_the_audio_leads_to_another_attempt(self) -> None:
        client = streaming()
        take(client, said("One.", "a", True))
        with pytest.raises(ClosedError, match=r"it said EOF before the end of the audio") as caught:
            client.receive(EOF)
        assert caught.value.code is None
        with pytest.raises(ClosedError):
            client.receive_close(1000)

    def test_nothing_counts_after_it(self) -> None:
        assert take(listening(), EOF, said("more", "a", True)) == Notice("transcript: after EOF")


class TestClose:
    @pytest.mark.parametrize("code", [1000, 1005])
    def test_without_eof_the_text_so_far_is_unconfirmed(self, code: int) -> None:
        client = listening()
        take(client, said("One.", "a", True), said("two", "b", False))
        assert client.receive_close(code) == [FinalText("One. two", "en-US", confirmed=False)]

    @pytest.mark.parametrize("code", [None, 1001, 1006, 1011, 4001])
    def test_a_broken_connection_makes_no_text(self, code: int | None) -> None:
        client = listening()
        take(client, said("One.", "a", True))
        with pytest.raises(ClosedError) as caught:
            client.receive_close(code, "why")
        assert (caught.value.code, caught.value.reason) == (code, "why")

    def test_nothing_final(self) -> None:
        client = listening()
        take(client, said("one", "a", False))
        with pytest.raises(ClosedError):
            client.receive_close(1000)

    def test_before_the_end_of_the_audio(self) -> None:
        client = streaming()
        take(client, said("One.", "a", True))
        with pytest.raises(ClosedError):
            client.receive_close(1000)


class TestErrors:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ({"error": {"code": 8, "message": "slow down"}}, "RESOURCE_EXHAUSTED: slow down"),
            ({"error": {"code": 99, "message": "what"}}, "what"),
            ({"error": {"code": {}, "message": []}}, "no reason given"),
            ({"error": {}}, "no reason given"),
            ({"error": "two\nlines"}, "two lines"),
            ({"error": ["x"]}, "no reason given"),
            ({"code": 14, "message": "later"}, "UNAVAILABLE: later"),
            ({"result": {"error": {"code": 5}}}, "NOT_FOUND"),
            ({"error": {"message": "x" * 999}}, "x" * 200),
        ],
    )
    def test_refused(self, answer: Any, reason: str) -> None:
        with pytest.raises(RefusedError) as caught:
            streaming().receive(json.dumps(answer))
        assert caught.value.message == f"the server refused: {reason}"

    @pytest.mark.parametrize(
        ("frame", "problem"),
        [
            (EOF.encode(), "the server sent a binary frame where the dialect is JSON in text frames"),
            ("", "the server sent no Suki message (not JSON (DecodeError))"),
            ("[]", "the server sent no Suki message (Expected `object`, got `array`)"),
            (EOF + EOF, "the server sent no Suki message (not JSON (DecodeError))"),
            ('{"transcript": 7}', "the server sent no Suki message (Expected `str | object | null`, got `int`"),
            ('{"transcript": {}}', "the server sent no Suki message (Object missing required field `transcript`"),
            ('{"result": ' * 20_000, "the server sent no Suki message (not JSON (RecursionError))"),
            (
                '{"transcript": "canary", "is_final": 1}',
                "the server sent no Suki message (Expected `bool | null`, got `int`",
            ),
        ],
    )
    def test_no_message(self, frame: Frame, problem: str) -> None:
        with pytest.raises(ProtocolError) as caught:
            streaming().receive(frame)
        assert str(caught.value).startswith(problem)
        assert "canary" not in str(caught.value)

    def test_it_holds_no_more_segments_than_a_dictation_has(self) -> None:
        client = streaming()
        for number in range(4096):
            client.receive(said("", str(number), False))
        with pytest.raises(ProtocolError, match="more than 4096 segments"):
            client.receive(said("", "one more", False))

    def test_it_holds_no_longer_text_than_a_dictation_has(self) -> None:
        client = streaming()
        for number in range(5):
            client.receive(said("a" * 50_000, str(number), True))
        with pytest.raises(ProtocolError, match="a text of more than 256 KiB"):
            client.receive(said("a" * 50_000, "one more", True))

    @pytest.mark.parametrize("frame", ["{}", '{"transcript": null}', '{"session": "ready"}', '{"result": {}}'])
    def test_a_frame_of_another_kind_is_passed_over(self, frame: str) -> None:
        assert take(streaming(), frame) == Notice("a frame with no transcript")


class TestStrictClient:
    @pytest.mark.parametrize(
        ("frames", "rule"),
        [
            (["{}"], "frame: `transcript` is its only member"),
            (
                ['{"transcript": "one", "is_final": true, "transcript_id": "a"}'],
                "frame: `transcript` is its only member",
            ),
            (['{"transcript": "one"}'], "transcript: an object"),
            (['{"transcript": null}'], "transcript: an object"),
            ([said("one", "a")], "is_final: in every transcript"),
            ([said("one", None, False)], "transcript_id: in every transcript"),
            ([said("one", "", False)], "transcript_id: in every transcript"),
            ([said("one", "a", False, words=[])], "transcript: only a final one has more members"),
            ([said("One.", "a", True), said("Two.", "a", True)], "transcript_id: a segment changed after it was final"),
            ([said("one", "a", False), EOF], "is_final: a segment never became final"),
            ([EOF, EOF], "transcript: after EOF"),
        ],
    )
    def test_departure(self, frames: Sequence[str], rule: str) -> None:
        client = listening(strict=True)
        for frame in frames[:-1]:
            client.receive(frame)
        with pytest.raises(ProtocolError) as caught:
            client.receive(frames[-1])
        assert str(caught.value) == f"the server left the dialect: {rule}"

    def test_eof_before_the_end_of_the_audio(self) -> None:
        with pytest.raises(ProtocolError, match=r"EOF: before AUDIO_END$"):
            streaming(strict=True).receive(EOF)

    def test_close_without_eof(self) -> None:
        client = listening(strict=True)
        client.receive(said("One.", "a", True))
        with pytest.raises(ProtocolError, match=r"EOF: before the close$"):
            client.receive_close(1000)


class TestServer:
    @pytest.mark.parametrize("key", ["audioData", "data", "audio_data"])
    @pytest.mark.parametrize("kind", [{}, {"type": "AUDIO"}], ids=["no type", "type"])
    def test_lenient_takes_audio_under_each_key(self, key: str, kind: dict[str, str]) -> None:
        frame = json.dumps({**kind, key: base64.b64encode(CHUNK).decode(), "sequence": 7})
        assert SukiServer(transcript_id=ID).receive(frame) == [AudioReceived(CHUNK)]

    @pytest.mark.parametrize("size", [0, 2, 3198, 3202, 64_000])
    def test_lenient_takes_chunks_of_each_size(self, size: int) -> None:
        pcm = bytes(size)
        assert SukiServer(transcript_id=ID).receive(audio(pcm)) == ([AudioReceived(pcm)] if pcm else [])

    def test_lenient_takes_audio_of_an_unknown_type(self) -> None:
        frame = audio(CHUNK).replace("AUDIO", "AUDIO_CHUNK")
        assert SukiServer(transcript_id=ID).receive(frame) == [AudioReceived(CHUNK)]

    @pytest.mark.parametrize(
        "frame",
        [
            '{"type": "EVENT", "event": "AUDIO_END"}',
            '{"event": "AUDIO_END"}',
            '{"type": "EVENT", "data": "AUDIO_END"}',
            '{"type": "EVENT", "event": "end_of_stream"}',
            '{"type": "EVENT", "data": "end_of_stream"}',
            '{"type": "end_of_stream"}',
            '{"end_of_stream": true}',
            '{"type": "AUDIO", "audioData": "RU9G"}',
            '{"data": "RU9G"}',
        ],
    )
    def test_lenient_takes_each_end(self, frame: str) -> None:
        server = SukiServer(transcript_id=ID)
        assert server.receive(frame) == [AudioCommitted()]
        assert server.receive(frame) == []
        assert refusal(server, audio(CHUNK)) == "audioData: after AUDIO_END"

    @pytest.mark.parametrize("event", ["PAUSE", "RESUME", "CANCEL", "ABORT", "KEEP_ALIVE", "", "audio_end"])
    def test_lenient_passes_over_other_events(self, event: str) -> None:
        assert SukiServer(transcript_id=ID).receive(json.dumps({"type": "EVENT", "event": event})) == []

    @pytest.mark.parametrize(
        ("frame", "problem"),
        [
            ("", "frame: one JSON object (not JSON (DecodeError))"),
            ("[]", "frame: one JSON object (Expected `object`, got `array`)"),
            (audio(CHUNK) * 2, "frame: one JSON object (not JSON (DecodeError))"),
            ('{"type": "AUDIO\x00"}', "frame: one JSON object (not JSON (DecodeError))"),
            ('{"a": ' * 20_000, "frame: one JSON object (not JSON (RecursionError))"),
            ('{"type": 7}', "frame: one JSON object (Expected `str | null`, got `int` - at `$.type`)"),
            ("{}", "audioData: is missing"),
            ('{"type": "AUDIO"}', "audioData: is missing"),
            ('{"type": "HELLO", "data": "AAAA"}', "type: AUDIO or EVENT"),
            (audio(CHUNK, data="AAA="), "audioData: and data in one frame"),
            (audio(b"odd"), "audioData: half a sample"),
            ('{"audioData": "AA"}', "audioData: not base64 (RFC 4648, with padding)"),
            ('{"data": "_-_-"}', "data: not base64 (RFC 4648, with padding)"),
        ],
    )
    def test_lenient_departure(self, frame: str, problem: str) -> None:
        assert refusal(SukiServer(transcript_id=ID), frame) == problem

    @pytest.mark.parametrize("strict", [False, True])
    def test_binary(self, strict: bool) -> None:
        problem = "frame: binary, but the dialect is JSON in text frames"
        assert refusal(SukiServer(transcript_id=ID, strict=strict), CHUNK, 1003) == problem

    @pytest.mark.parametrize(
        ("frame", "problem"),
        [
            (audio(b""), "audioData: 0 bytes of PCM, but every chunk is 100 ms, 3200 bytes"),
            (audio(CHUNK[:-2]), "audioData: 3198 bytes of PCM, but every chunk is 100 ms, 3200 bytes"),
            (audio(CHUNK * 2), "audioData: 6400 bytes of PCM, but every chunk is 100 ms, 3200 bytes"),
            ('{"type": "EVENT", "event": "KEEP_ALIVE"}', "event: only AUDIO_END is documented for dictation"),
            (
                audio(CHUNK, sequence=7),
                "frame: one JSON object of the documented form (Object contains unknown field `sequence`)",
            ),
            (
                '{"type": "AUDIO", "audioData": "AA"}',
                "frame: one JSON object of the documented form (Invalid base64 encoded string - at `$.audioData`)",
            ),
        ],
    )
    def test_strict_departure(self, frame: str, problem: str) -> None:
        assert refusal(SukiServer(transcript_id=ID, strict=True), frame) == problem

    def test_strict_after_the_end(self) -> None:
        server = SukiServer(transcript_id=ID, strict=True)
        end = '{"type": "EVENT", "event": "AUDIO_END"}'
        assert server.receive(end) == [AudioCommitted()]
        assert refusal(server, end) == "event: AUDIO_END only once"
        assert refusal(server, audio(CHUNK)) == "audioData: after AUDIO_END"
