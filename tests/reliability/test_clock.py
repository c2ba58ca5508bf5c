"""Leaps of the wall clock, which a Pi does not have itself, while real time goes on."""

import datetime
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flowpi.core.ulid import ulid_to_int
from tests.audio.listening import wait_until
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.appliance import stopped
from tests.rig.microphone import Microphone
from tests.rig.wall_clock import WallClock

YEAR_S = 365 * 86_400
LEAPS = {
    "40 days on": (0, 40 * 86_400),
    "2 years back": (0, -2 * YEAR_S),
    "from 1970 to now": (-int(time.time()) + 60, 0),
    "from now to 1970": (0, -int(time.time()) + 60),
}
"""The error of the clock before and after the leap, in seconds."""


@pytest.mark.promise("P24")
@pytest.mark.parametrize("leap", LEAPS)
def test_a_leap_of_the_wall_clock_disturbs_nothing(
    tmp_path: Path, microphone: Microphone, measured: Callable[..., None], leap: str
) -> None:
    before_s, after_s = LEAPS[leap]
    clock = WallClock(tmp_path / "clock")
    clock.leap(before_s)
    lives = Lives(tmp_path / "0")
    speaker = lives.speaker
    yesterday = datetime.datetime.fromtimestamp(time.time() + before_s, datetime.UTC) - datetime.timedelta(days=1)
    earlier = lives.appliance.directory / "transcripts" / f"{yesterday:%Y-%m-%d}.jsonl"
    earlier.parent.mkdir()
    earlier.write_text('{"id":"01AAAAAAAAAAAAAAAAAAAAAAAA","part":1,"text":""}\n')
    try:
        lives.serve()
        server = lives.appliance.server
        assert server
        lives.start(clock.environment)
        client = lives.appliance.connect().subscribe("transcript/#", "state")
        speaker.connect()
        speaker.dictate(SPEECH_S)
        client.wait("transcript/final")

        said = speaker.press()
        wait_until(said.pressed_at + 0.2)
        clock.leap(after_s)
        wait_until(said.pressed_at + 0.5)  # a limit by the wall clock would end it here
        speaker.release()
        assert client.wait("transcript/final")["id"] == said.id

        with stopped(server):
            awaited = speaker.dictate(SPEECH_S)
            clock.leap(before_s)
            wait_until(time.monotonic() + 0.5)  # a deadline by the wall clock would pass here
        final = client.wait("transcript/final")
        assert final["id"] == awaited.id
        assert not final["late"]

        lives.deliver()
        lives.start(clock.environment)  # after a kill, with nothing in the spool that has the last id
        speaker.connect()
        speaker.dictate(SPEECH_S)
        verdict = lives.last_words()
        assert verdict.good, verdict
        ids = [ulid_to_int(one.id) for one in speaker.said]
        assert ids == sorted(set(ids))
        assert earlier.exists()
    finally:
        lives.close()
    measured(leap=leap, said=verdict.acknowledged, lost=0, ids="in order")
