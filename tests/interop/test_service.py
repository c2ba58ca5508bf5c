"""flowpi's clients dictate to services that are not flowpi's: Node's packages, and the services' documents."""

import hashlib
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import DEMO_WAV
from tests.waiting import PATIENCE_S

BACKENDS = {
    "flow": "{kind: flow, url: 'ws://HERE/client_ws', encoding: json, client_key: canary.b.c}",
    "flow, no headers": "{kind: flow, url: 'ws://HERE/client_ws', encoding: json, client_key: canary.b.c, audio: pcm}",
    "flow, MessagePack": "{kind: flow, url: 'ws://HERE/ws', encoding: msgpack, api_key: fl-canary}",
    "flow, a second a packet": "{kind: flow, url: 'ws://HERE/ws', encoding: json, api_key: fl-canary, packet_ms: 1000}",
    "suki": "{kind: suki, url: 'http://HERE', partner_id: clinic, partner_token: canary.b.c}",
}


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """HOST:PORT of `service.mjs`."""
    command = ["node", str(Path(__file__).with_name("service.mjs"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"127.0.0.1:{process.stdout.readline().strip()}"


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_sample_arrives_as_the_documents_say(service: str, backend: str) -> None:
    here = f"{service}/api/v1/dash" if backend.startswith("flow") else service
    options = ["--set", f"backends={{theirs: {BACKENDS[backend].replace('HERE', here)}}}", "--backend", "theirs"]
    command = [sys.executable, "-m", "flowpi", "transcribe", str(DEMO_WAV), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    with wave.open(str(DEMO_WAV)) as file:
        pcm = file.readframes(file.getnframes())
    if "second" in backend:
        pcm += bytes(-len(pcm) % 32_000)  # the last packet is as long as the others
    assert done.stdout + done.stderr == hashlib.sha256(pcm).hexdigest() + "\n"
