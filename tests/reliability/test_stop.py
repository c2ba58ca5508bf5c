"""SIGTERM at any moment: the daemon ends in time, and what it cut off is kept. So is what an old version kept."""

import json
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowpi.core.ulid import UlidFactory
from tests.audio.listening import wait_until
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.microphone import Microphone

STOP_S = 5.0
CHAIN = 50
MOMENTS = ["idle", "recording", "finishing"]


def live_until(lives: Lives, moment: str, pause_s: float) -> None:
    """Reach a state and stay in it for a time; what is being said by then counts as said."""
    speaker = lives.speaker
    speaker.connect()
    match moment:
        case "recording":
            said = speaker.press()
            wait_until(said.pressed_at + pause_s)
            said.released_at = time.monotonic()
            said.acknowledged = True
        case "finishing":
            speaker.dictate(SPEECH_S)
            wait_until(time.monotonic() + pause_s / 50)
        case _:
            wait_until(time.monotonic() + pause_s)


@pytest.mark.promise("P26")
def test_stopped_at_any_moment_all_that_was_said_is_kept(
    tmp_path: Path,
    microphone: Microphone,
    times: Callable[[int, int], int],
    measured: Callable[..., None],
    slack_s: float,
) -> None:
    chance = random.Random(0)
    stops, slowest_s, said = times(6, 200), 0.0, 0
    for begin in range(0, stops, CHAIN):
        lives = Lives(tmp_path / str(begin))
        try:
            lives.serve()
            for n in range(begin, min(begin + CHAIN, stops)):
                daemon = lives.start()
                live_until(lives, MOMENTS[n % len(MOMENTS)], chance.uniform(0.0, 0.3))
                began = time.monotonic()
                assert daemon.end() == 0, daemon.log.read_text()
                slowest_s = max(slowest_s, time.monotonic() - began)
            verdict = lives.last_words()
            assert verdict.good, verdict
            said += verdict.acknowledged
        finally:
            lives.close()
    assert said == sum(MOMENTS[n % len(MOMENTS)] != "idle" for n in range(stops))
    assert slowest_s <= STOP_S + slack_s
    measured(stops=stops, said=said, lost=0, slowest_stop_s=round(slowest_s, 2))


def record(kind: bytes, payload: bytes) -> bytes:
    return struct.pack("<cII", kind, len(payload), zlib.crc32(kind + payload)) + payload


def version_1(name: str, pcm: bytes) -> bytes:
    """Return a spool file as flowpi 0.1.0 wrote it."""
    about = {"id": name, "started_at": 1795280000.0, "part": 1, "context": {}}
    ending = {"frames": len(pcm) // 2, "lost_frames": 0}
    records = [(b"H", json.dumps(about).encode()), (b"A", pcm), (b"E", json.dumps(ending).encode())]
    return b"flowpi utterance 1\n" + b"".join(record(kind, payload) for kind, payload in records)


@pytest.mark.promise("P26")
def test_what_an_old_version_kept_is_delivered_and_what_a_new_one_kept_is_left(
    tmp_path: Path, microphone: Microphone, measured: Callable[..., None]
) -> None:
    lives = Lives(tmp_path / "0")
    try:
        lives.serve()
        old, new = (UlidFactory().make(n, bytes(10)) for n in (1, 2))
        spool = lives.appliance.spool
        spool.mkdir()
        pcm = np.arange(1, 8001, dtype="<u2").tobytes()
        (spool / f"{old}.utt").write_bytes(version_1(old, pcm))
        future = b"flowpi utterance 99\n" + bytes(range(256))
        (spool / f"{new}.utt").write_bytes(future)
        lives.unreadable.add(new)
        lives.start()
        lives.speaker.connect()
        lives.speaker.dictate(SPEECH_S)
        assert lives.last_words().good
        lines = {line["id"]: line for line in lives.appliance.transcripts()}
        assert json.loads(lines[old]["text"]) == {"first": 1, "frames": 8000, "breaks": 0}
        assert new not in lines
        (left,) = spool.rglob(f"{new}*")
        assert left.read_bytes() == future
    finally:
        lives.close()
    measured(of_version_1="delivered", of_a_later_version="left as it is")
