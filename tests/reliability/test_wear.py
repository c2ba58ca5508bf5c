"""The wear of an SD card: the bytes and syncs of a whole daemon, counted at its system calls."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.dsp.format import BYTES_PER_S
from tests.audio.listening import wait_until
from tests.reliability.lives import Lives
from tests.rig.microphone import Microphone
from tests.rig.writes import Writes

MOST_WRITTEN = 1.5
"""The limit of what is written, as a multiple of the audio."""

SYNCS_EACH = 3
"""The syncs of an utterance, besides one for each second of it that began."""


SETTLED_S = 1.0
"""The time after which nothing more is written for a dictation that was delivered."""


@pytest.fixture
def lives(tmp_path: Path, microphone: Microphone) -> Iterator[Lives]:
    lives = Lives(tmp_path / "0")
    lives.serve()
    yield lives
    lives.close()


def writes(lives: Lives, directory: Path) -> Writes:
    """Record the writes of a daemon that has settled."""
    daemon = lives.start()
    lives.speaker.connect()
    lives.speaker.dictate(0.1)  # makes the file of the day, which costs one sync a day
    lives.deliver()
    wait_until(time.monotonic() + SETTLED_S)
    return Writes(daemon.process.pid, directory, lives.led, daemon.log)


@pytest.mark.promise("P39")
def test_a_dictation_costs_the_card_little_more_than_its_audio(
    lives: Lives, tmp_path: Path, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    dictations, seconds = times(1, 10), times(3, 30)
    with writes(lives, tmp_path) as traced:
        for _ in range(dictations):
            said = lives.speaker.press()
            wait_until(said.pressed_at + seconds)
            lives.speaker.release()
            lives.deliver()
            wait_until(time.monotonic() + SETTLED_S)
    lines = {line["id"]: line for line in lives.appliance.transcripts()}
    durations = [lines[said.id]["duration_s"] for said in lives.speaker.said[-dictations:]]
    allowed = sum(math.ceil(duration) + SYNCS_EACH for duration in durations)
    written = traced.written / (sum(durations) * BYTES_PER_S)
    assert 1.0 < written <= MOST_WRITTEN
    assert dictations <= traced.syncs <= allowed, traced.calls
    measured(
        dictations=dictations, speech_s=round(sum(durations)), times_the_audio=round(written, 3),
        syncs=traced.syncs, allowed=allowed,
    )  # fmt: skip


@pytest.mark.promise("P39")
def test_while_nobody_speaks_nothing_is_written(
    lives: Lives, tmp_path: Path, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    idle_s = times(3, 600)
    with writes(lives, tmp_path) as traced:
        wait_until(time.monotonic() + idle_s)
    assert traced.calls == []
    measured(idle_s=idle_s, written=0, synced=0)
