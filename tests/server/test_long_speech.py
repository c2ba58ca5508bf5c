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

SECONDS, COST = 330, 0.04
SEND_S = 1.5
"""Scaled from 30 s and half a core: a minute of speech, worked off in one piece, takes 2.4 s."""


@pytest.mark.lengthy
@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_minutes_of_speech_come_through(tmp_path: Path, transport: str) -> None:
    speech = noise(1.0) * SECONDS
    address = f"unix:{tmp_path}/asr.sock" if transport == "unix" else "127.0.0.1:0"
    async with Server([address], Costly(COST)) as server, asyncio.timeout(2 * PATIENCE_S):
        url = f"ws+unix://{tmp_path}/asr.sock" if transport == "unix" else f"{server.urls[0]}{DASH}/client_ws"
        backend = FlowBackend("local", FlowSettings(url), Hints(), Patience(send_s=SEND_S, final_s=PATIENCE_S))
        utterance = Utterance(About(ulid(1), 0.0), pcm=speech, complete=True)
        text = await backend.transcribe(utterance, lambda partial: None, Timings())
        await backend.close()
    assert text.text == echo(speech)
