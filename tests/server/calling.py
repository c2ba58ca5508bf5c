"""An echo server, and clients for it: plain HTTP and WebSockets, without flowpi's code."""

import base64
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import websockets
from websockets.asyncio.client import ClientConnection

from flowpi.dsp.wav import wav_header
from flowpi.server.app import Server
from flowpi.server.auth import Authenticator
from flowpi.server.engines import EchoEngine

ORG_KEY = "fl-canary-organisation"
PARTNER, PARTNER_TOKEN = "clinic", "canary-partner"
DASH = "/api/v1/dash"
CHUNK = bytes(range(256)) * 12 + bytes(128)
"""The size of a packet of 100 ms."""


quiet = logging.getLogger("stranger")
quiet.setLevel(logging.INFO)  # at DEBUG the library writes down the keys of this client


def connect(server: Server, path: str, **options: Any) -> websockets.connect:
    return websockets.connect(server.urls[0] + path, logger=quiet, **options)


class Clock:
    """A clock with a lever: `now`, in seconds since 1970."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def locked(clock: Clock | None = None) -> Authenticator:
    return Authenticator([ORG_KEY, "fl-canary-other"], {PARTNER: PARTNER_TOKEN}, clock or Clock())


def http(server: Server) -> str:
    return server.urls[0].replace("ws", "http", 1)


@asynccontextmanager
async def serving(access: Authenticator | None = None, **options: Any) -> AsyncIterator[Server]:
    async with Server(["127.0.0.1:0"], EchoEngine(), access=access, **options) as server:
        yield server


async def ask(
    server: Server, method: str, path: str, body: Any = None, *, data: Any = None, headers: Mapping[str, str] = {}
) -> tuple[int, Any]:
    """Make one REST call; return status and JSON."""
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, http(server) + path, json=body, data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def refusal(server: Server, path: str, **options: Any) -> tuple[int, Any]:
    """Return status and JSON of a refused upgrade."""
    try:
        async with connect(server, path, **options):
            raise AssertionError("let in")
    except websockets.InvalidStatus as error:
        return error.response.status_code, json.loads(error.response.body or b"null")


def echo_of(pcm: bytes) -> str:
    return f"echo {len(pcm) / 32_000:.3f} s, {len(pcm) // 2} samples, sha256 {hashlib.sha256(pcm).hexdigest()}"


async def hear(link: ClientConnection) -> list[dict[str, Any]]:
    """Return all frames that the server sends until it closes."""
    said = []
    try:
        async for frame in link:
            said.append(json.loads(frame))
    except websockets.ConnectionClosedError:
        pass
    return said


async def dictate_flow(link: ClientConnection, pcm: bytes, **auth: Any) -> str:
    """Dictate in the documented form, in packets of 100 ms; return the final text or the error text."""
    await link.send(json.dumps({"type": "auth", **auth}))
    chunks = [pcm[at : at + 3200] for at in range(0, len(pcm), 3200)]
    packets = [base64.b64encode(wav_header(len(chunk)) + chunk).decode() for chunk in chunks]
    answer = json.loads(await link.recv())
    if answer["status"] == "error":
        return str(answer["error"])
    audio = {
        "packets": packets,
        "volumes": [0.1] * len(packets),
        "packet_duration": 0.1,
        "audio_encoding": "wav",
        "byte_encoding": "base64",
    }
    await link.send(json.dumps({"type": "append", "position": 0, "audio_packets": audio}))
    await link.send(json.dumps({"type": "commit", "total_packets": len(packets)}))
    *_, last = await hear(link)
    return str(last["body"]["text"])


async def dictate_suki(link: ClientConnection, pcm: bytes) -> str:
    """Dictate in the documented form; return the final text."""
    for at in range(0, len(pcm), 3200):
        audio = base64.b64encode(pcm[at : at + 3200]).decode()
        await link.send(json.dumps({"type": "AUDIO", "audioData": audio}))
    await link.send(json.dumps({"type": "EVENT", "event": "AUDIO_END"}))
    *_, last, end = await hear(link)
    assert end == {"transcript": {"transcript": "EOF"}}
    assert last["transcript"]["is_final"] is True
    return str(last["transcript"]["transcript"])


async def log_in(server: Server, **more: str) -> str:
    body = {"partner_id": PARTNER, "partner_token": PARTNER_TOKEN, **more}
    status, answer = await ask(server, "POST", "/api/v1/auth/login", body)
    assert status == 200
    return str(answer["suki_token"])


async def create(server: Server, token: str, **headers: str) -> str:
    headers["sdp_suki_token"] = token
    status, answer = await ask(server, "POST", "/api/v1/transcription/session/create", headers=headers)
    assert status == 201
    return str(answer["transcription_session_id"])
