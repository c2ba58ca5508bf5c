"""P38: many dictations of both services at once, and each gets the text of its own sound."""

import asyncio
import random

import pytest

from flowpi.server.app import Server
from tests.server.calling import (
    CHUNK,
    DASH,
    ORG_KEY,
    connect,
    create,
    dictate_flow,
    dictate_suki,
    echo_of,
    locked,
    log_in,
    serving,
)
from tests.waiting import PATIENCE_S


def sound(number: int) -> bytes:
    return random.Random(number).randbytes(len(CHUNK) * (number + 1))


async def flow(server: Server, pcm: bytes) -> str:
    async with connect(server, f"{DASH}/ws?api_key=Bearer%20{ORG_KEY}") as link:
        return await dictate_flow(link, pcm, access_token=ORG_KEY)


async def suki(server: Server, pcm: bytes, token: str) -> str:
    session = await create(server, token)
    sent = {"sdp_suki_token": token, "transcription_session_id": session}
    async with connect(server, "/ws/transcribe", additional_headers=sent) as link:
        return await dictate_suki(link, pcm)


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
async def test_twenty_of_each_at_once(strict: bool) -> None:
    async with serving(locked(), strict=strict, max_sessions=40) as server, asyncio.timeout(PATIENCE_S):
        token = await log_in(server)
        said = await asyncio.gather(
            *(flow(server, sound(number)) for number in range(20)),
            *(suki(server, sound(number), token) for number in range(20, 40)),
        )
    assert said == [echo_of(sound(number)) for number in range(40)]
