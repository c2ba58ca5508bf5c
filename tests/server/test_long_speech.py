"""Long speech that was kept, on a recogniser that is slow: its text comes, by either transport."""

import asyncio
from pathlib import Path

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings
from flowpi.core.hints import Hints
from flowpi.server.app import Server
from tests.server.calling import DASH
from tests.server.test_fairness import Costly
from tests.sound import echo, noise, ulid
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("transport", "seconds", "cost", "send_s"),
    [
        # Scaled from 10 s and half a core: a minute of speech, worked off in one piece, takes 2.4 s.
        ("unix", 240, 0.04, 1.5),
        # The kernel's own limit does not scale: it closes a connection whose other end takes nothing for 5.7 s, and a
        # minute in one piece takes 7.2 s.
        ("tcp", 150, 0.12, 10.0),
    ],
    ids=["unix", "tcp"],
)
async def test_minutes_of_speech_come_through(
    tmp_path: Path, transport: str, seconds: int, cost: float, send_s: float
) -> None:
    speech = noise(1.0) * seconds
    address = f"unix:{tmp_path}/asr.sock" if transport == "unix" else "127.0.0.1:0"
    async with Server([address], Costly(cost)) as server, asyncio.timeout(2 * PATIENCE_S):
        url = f"ws+unix://{tmp_path}/asr.sock" if transport == "unix" else f"{server.urls[0]}{DASH}/client_ws"
        backend = FlowBackend("local", FlowSettings(url), Hints(), Patience(send_s=send_s, final_s=PATIENCE_S))
        utterance = Utterance(About(ulid(1), 0.0), pcm=speech, complete=True)
        text = await backend.transcribe(utterance, lambda partial: None, Timings())
        await backend.close()
    assert text.text == echo(speech)
