"""Writes the corpus that the fuzzer begins with: files of one conversation each, made of the messages in tests/vectors.

    python -m tests.fuzz.seeds

Inputs that once found something are kept beside them, with names `found-...`.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from flowpi.wire.codec import Frame
from tests.fuzz.frames import Arrival, pack

CORPUS = Path(__file__).with_name("corpus")
SUKI = Path(__file__).parents[1] / "vectors" / "suki"

WAV_HEADER = b"RIFF\x44\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\x20\0\0\0"
"""The header of a WAV with 16 frames."""
PACKET: dict[str, Any] = {"packet_duration": 0.01, "audio_encoding": "wav", "volumes": [0.25]}
AUTH = {"type": "auth", "access_token": "jwt", "language": ["en"], "context": {"app": {"name": "a", "type": "other"}}}
FLOW_SERVER: dict[str, list[dict[str, Any]]] = {
    "final": [
        {"status": "auth"},
        {"status": "info", "message": {"event": "commit_received"}},
        {"status": "text", "position": 1, "final": True, "body": {"text": "it was", "detected_language": "en"}},
    ],
    "final-inside": [{"status": "text", "body": {"text": "it was", "final": True}}],
    "only-partials": [
        {"status": "text", "position": 2, "final": False, "body": {"text": "it", "detected_language": None}}
    ],
    "started": [{"status": "info", "message": {"event": "session_started"}}],
    "refused": [{"status": "error", "error": "quota", "message": {"event": "x"}, "detail": None}],
    "refused-inside": [{"status": "error", "message": {"detail": "token expired"}}],
    "unknown": [{"status": "usage", "seconds": 3}],
}


def flow_client() -> Iterator[tuple[str, bytes]]:
    for name, messages in FLOW_SERVER.items():
        for binary in (False, True):
            frames = [Arrival(_frame(message, binary), action=1) for message in messages]
            for stage in (0, 1, 3):
                yield f"{name}-{_word(binary)}-{stage}", pack(binary | stage << 2, frames)


def flow_server() -> Iterator[tuple[str, bytes]]:
    for binary in (False, True):
        for wav in (False, True):
            pcm = bytes([1, 0] * 16)
            packet = (
                b"RIFF\x44\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\x20\0\0\0" + pcm
                if wav
                else pcm
            )
            audio = {**PACKET, "packets": [packet], "byte_encoding": "binary" if binary else "base64"}
            conversation: list[dict[str, Any]] = [
                AUTH,
                {"type": "append", "position": 0, "audio_packets": audio},
                {"type": "append", "position": 1, "audio_packets": audio},
                {"type": "commit", "total_packets": 2},
            ]
            frames = [Arrival(_frame(message, binary), action=1) for message in conversation]
            for strict in (0, 2):
                yield f"whole-{_word(binary)}-{'wav' if wav else 'pcm'}-{strict}", pack(binary | strict, frames)
    for name, language in ("text", "en-US"), ("null", None), ("empty", []):
        frame = _frame({"type": "auth", "language": language}, binary=False)
        yield f"language-{name}", pack(0, [Arrival(frame), Arrival('{"type": "commit", "total_packets": 0}')])


def suki_client() -> Iterator[tuple[str, bytes]]:
    partial, final, end = (_vector(name) for name in ("partial", "final", "eof"))
    whole = [partial, Arrival(final.frame, action=2), end]
    for strict in (0, 2):
        yield f"whole-{strict}", pack(1 << 2 | strict, whole)
        yield f"unfinished-{strict}", pack(3 << 2 | strict, [partial, final])
    for path in sorted(SUKI.glob("*.json")):
        if path.stem.startswith(("partial", "final", "eof", "error")):
            yield path.stem, pack(3 << 2, [Arrival(path.read_text()), end])


def suki_server() -> Iterator[tuple[str, bytes]]:
    audio, end = Arrival('{"type": "AUDIO", "audioData": "AQABAAEA"}', action=1), _vector("audio-end")
    for strict in (0, 2):
        yield f"whole-{strict}", pack(strict, [audio, audio, end])
    for name in "audio-end", "audio-end-ambient", "audio-end-in-data", "end-of-stream", "keep-alive", "start-time":
        yield name, pack(0, [audio, _vector(name)])
    for name in "data", "audio_data":
        yield name, pack(0, [Arrival(json.dumps({name: "AQABAAEA"})), end])


def _vector(name: str) -> Arrival:
    return Arrival((SUKI / f"{name}.json").read_text())


def _frame(message: dict[str, Any], binary: bool) -> Frame:
    if binary:
        return bytes(msgpack.packb(message))
    return json.dumps(message, default=lambda packet: base64.b64encode(packet).decode())


def _word(binary: bool) -> str:
    return "msgpack" if binary else "json"


SEEDS = {
    "flow-client": flow_client,
    "flow-server": flow_server,
    "suki-client": suki_client,
    "suki-server": suki_server,
}
"""The names and contents of the files of each target."""


def main() -> None:
    for name, seeds in SEEDS.items():
        directory = CORPUS / name
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.iterdir():
            if not path.name.startswith("found-"):
                path.unlink()
        for seed, content in seeds():
            (directory / seed).write_bytes(content)


if __name__ == "__main__":
    main()
