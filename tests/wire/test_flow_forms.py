"""The strict and the lenient reading of Flow, message by message; whole messages are in test_flow_vectors.py."""

import json
from typing import Any

import msgpack
import pytest

from flowpi.core.errors import ProtocolError
from flowpi.dsp.wav import wav_header
from flowpi.wire.codec import Encoding, Frame, encode
from flowpi.wire.flow import FlowClient, FlowServer
from flowpi.wire.flow_messages import Append, AudioPackets, Auth, Authenticated
from flowpi.wire.roles import AudioCommitted, AudioReceived
from tests.wire.test_flow import PACKET, append, refusal, streaming


def strict_append(position: int, **changed: Any) -> Frame:
    """Of one packet, in the documented form but for what is changed."""
    audio: dict[str, Any] = {
        "packets": [wav_header(len(PACKET)) + PACKET],
        "volumes": [0.5],
        "packet_duration": 0.1,
        "byte_encoding": "base64",
    }
    return encode(Append(position, AudioPackets(**audio | changed)), Encoding.JSON)


class TestStrictServer:
    @pytest.fixture
    def server(self) -> FlowServer:
        server = FlowServer(encoding=Encoding.JSON, strict=True)
        server.receive('{"type": "auth"}')
        server.accept()
        server.receive(strict_append(0))
        return server

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (strict_append(0), "append.position: 0, expected 1"),
            (strict_append(2), "append.position: 2, expected 1"),
            (strict_append(-1), "append.position: Expected `int` >= 0"),
            (strict_append(1, byte_encoding="binary"), "append.audio_packets.byte_encoding: binary in json"),
            (
                strict_append(1, audio_encoding="opus"),
                "append.audio_packets.audio_encoding: Invalid enum value 'opus'",
            ),
            (
                strict_append(1, packet_duration=0.2, packets=[wav_header(6400) + PACKET * 2]),
                "append.audio_packets.packet_duration: differs from the first message's",
            ),
            (
                strict_append(1, packet_duration=0.2),
                "append.audio_packets.packets[0]: 3200 bytes of PCM; packet_duration makes it 6400",
            ),
            (
                strict_append(1, packet_duration=0),
                "append.audio_packets.packet_duration: seconds of one packet",
            ),
            (
                strict_append(1, packets=[wav_header(6400) + PACKET]),
                "append.audio_packets.packets[0]: its header tells another length, or rate",
            ),
            (
                strict_append(1, packets=[wav_header(len(PACKET)).replace(b"\x80\x3e", b"\x40\x1f") + PACKET]),
                "append.audio_packets.packets[0]: WAV packet is 8000 Hz, 1 channels, 16 bits; 16000 Hz, 1, 16 needed",
            ),
            (
                strict_append(1, volumes=[0.5, 0.5]),
                "append.audio_packets.volumes: one number for each packet, but 2 for 1",
            ),
            (
                strict_append(1, packets=[b""] * 16385),
                "append.audio_packets.packets: 16385; at most 16384 in a message",
            ),
            ('{"type": "auth"}', "auth: only once, as the first message"),
            ('{"type": "commit", "total_packets": 2}', "commit.total_packets: 2, but 1 arrived"),
            ('{"type": "commit", "total_packets": 1, "x": 1}', "commit: Object contains unknown field `x`"),
            ('{"type": "hello"}', "message.type: Invalid value 'hello'"),
            (b"\x80", "frame: a session in json takes no such frame"),
        ],
    )
    def test_departure(self, server: FlowServer, frame: Frame, reason: str) -> None:
        assert refusal(server, frame) == reason
        assert server.position == 1

    @pytest.mark.parametrize(
        ("frame", "reason"),
        [
            (strict_append(0), "append: before the answer to auth"),
            ('{"type": "commit", "total_packets": 0}', "commit: before the answer to auth"),
        ],
    )
    def test_before_its_answer(self, frame: Frame, reason: str) -> None:
        server = FlowServer(strict=True)
        server.receive('{"type": "auth"}')
        assert refusal(server, frame) == reason

    def test_before_its_answer_the_lenient_one_hears(self) -> None:
        server = FlowServer()
        server.receive('{"type": "auth"}')
        assert server.receive(append(0)) == [AudioReceived(PACKET)]

    @pytest.mark.parametrize("member", ["access_token", "language", "context"])
    def test_null(self, member: str) -> None:
        said = refusal(FlowServer(strict=True), f'{{"type": "auth", "{member}": null}}')
        assert said.startswith(f"auth.{member}: Expected ")

    def test_base64_in_msgpack(self) -> None:
        server = FlowServer(encoding=Encoding.MSGPACK, strict=True)
        server.receive(encode(Auth(), Encoding.MSGPACK))
        server.accept()
        message = json.loads(str(strict_append(0)))
        message["audio_packets"]["byte_encoding"] = "binary"
        frame = bytes(msgpack.packb(message))
        assert refusal(server, frame) == "append.audio_packets.packets[0]: Expected `bytes`, got `str`"

    def test_nothing_was_said(self) -> None:
        server = FlowServer(strict=True)
        server.receive('{"type": "auth"}')
        server.accept()
        assert server.receive('{"type": "commit", "total_packets": 0}') == [AudioCommitted()]

    def test_after_a_departure_it_listens_no_more(self, server: FlowServer) -> None:
        refusal(server, strict_append(5))
        assert server.receive(strict_append(1)) == []
        assert (server.position, server.data_to_send()) == (1, [])


class TestLenientServer:
    def test_base64_in_msgpack(self) -> None:
        server = FlowServer(encoding=Encoding.MSGPACK)
        server.receive(encode(Auth(), Encoding.MSGPACK))
        assert server.receive(bytes(msgpack.packb(json.loads(str(append(0)))))) == [AudioReceived(PACKET)]

    def test_packets_of_any_duration(self) -> None:
        server = streaming().server
        server.receive(append(0))
        assert server.receive(append(1, packet_duration=0.2, packets=[PACKET * 2])) == [AudioReceived(PACKET * 2)]

    def test_a_compressed_sound_is_no_pcm(self) -> None:
        message = json.loads(str(append(0)))
        message["audio_packets"]["audio_encoding"] = "opus"
        said = refusal(streaming().server, json.dumps(message))
        assert said == "append.audio_packets.audio_encoding: only wav"

    @pytest.mark.parametrize("more", ["", ', "audio": "", "audio_packets": {"packets": []}'])
    def test_audio_in_no_place_or_in_two(self, more: str) -> None:
        said = refusal(streaming().server, f'{{"type": "append", "position": 0{more}}}')
        assert said == "append: audio_packets, or audio"


class TestStrictClient:
    @pytest.mark.parametrize(
        ("answers", "rule"),
        [
            (["partial"], "text: before auth"),
            (["auth", "auth"], "auth: a second one"),
            (["auth", "info"], "info: commit_received, but there was no commit, or it is answered"),
            (["auth", "final"], "text.final: before the commit"),
            (["auth", "commit", "final"], "info: no commit_received before the final text"),
            (["auth", "commit", "info", "info"], "info: commit_received, but there was no commit, or it is answered"),
            (["auth", "commit", "info", "final", "final"], "message: after the end"),
            (["auth", "commit", "info", "partial", "close"], "text: no final one before the close"),
        ],
    )
    def test_order(self, answers: list[str], rule: str) -> None:
        frames: dict[str, Frame] = {
            "auth": '{"status": "auth"}',
            "info": '{"status": "info", "message": {"event": "commit_received"}}',
            **{
                name: json.dumps(
                    {
                        "status": "text",
                        "position": 0,
                        "final": name == "final",
                        "body": {"text": "a", "detected_language": "en"},
                    }
                )
                for name in ("partial", "final")
            },
        }

        def told(client: FlowClient, answer: str) -> None:
            match answer:
                case "commit":
                    client.commit()
                case "close":
                    client.receive_close(1000)
                case _:
                    client.receive(frames[answer])

        for strict in (False, True):
            client = FlowClient(encoding=Encoding.JSON, strict=strict)
            client.open()
            *before, last = answers
            for answer in before:
                told(client, answer)
            if not strict:
                told(client, last)
                continue
            state = client.state
            with pytest.raises(ProtocolError) as caught:
                told(client, last)
            assert str(caught.value) == f"the server left the dialect: {rule}"
            assert client.state is state

    def test_frame_of_the_other_encoding(self) -> None:
        client = FlowClient(encoding=Encoding.JSON, strict=True)
        client.open()
        with pytest.raises(ProtocolError, match=r"\(frame: a session in json has no such frame\)$"):
            client.receive(encode(Authenticated(), Encoding.MSGPACK))
