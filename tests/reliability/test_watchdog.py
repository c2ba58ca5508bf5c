"""The watchdog is fed only by progress: not by a loop that stands still, nor by one that turns without sound."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.audio.device_state import WAKE_S
from tests.audio.listening import wait_until
from tests.reliability.lives import Lives
from tests.rig.appliance import Process, stopped
from tests.rig.microphone import Microphone

FED_S = 0.1
"""The time between two feedings, at the `WATCHDOG_USEC` of these tests."""

IDLE_READ_S = 0.1
MARGIN_S = 0.5
"""For a feeding that was decided on before, and is sent by a daemon that had to wait for a processor."""

ENVIRONMENT = {"WATCHDOG_USEC": str(round(2 * FED_S * 1e6))}
UNIT = Path(__file__).parents[2] / "systemd" / "flowpi.service"
RESTART_S = 35.0


@pytest.fixture
def lives(tmp_path: Path, microphone: Microphone) -> Iterator[Lives]:
    idle = f"audio.idle_read_ms={1000 * IDLE_READ_S:.0f}"
    lives = Lives(tmp_path / "0", idle, program=("-m", "tests.reliability.stuck"))
    yield lives
    lives.close()


def fed(daemon: Process) -> int:
    """Return how often the watchdog was fed since the last call."""
    daemon.hear()
    times = daemon.notices.count("WATCHDOG=1")
    daemon.notices.clear()
    return times


@pytest.mark.promise("P37")
def test_a_daemon_that_stands_still_does_not_feed(lives: Lives, measured: Callable[..., None]) -> None:
    daemon = lives.start(ENVIRONMENT)
    daemon.notice("WATCHDOG=1")
    with stopped(daemon):
        fed(daemon)
        wait_until(time.monotonic() + 5 * FED_S)
        meals = fed(daemon)
    assert meals == 0
    daemon.notice("WATCHDOG=1")
    measured(stood_still_s=5 * FED_S, due_every_s=FED_S, fed=meals)


@pytest.mark.promise("P37")
def test_a_daemon_that_hears_nothing_does_not_feed(lives: Lives, tmp_path: Path, measured: Callable[..., None]) -> None:
    daemon = lives.start(ENVIRONMENT)
    daemon.notice("WATCHDOG=1")
    stuck = lives.led.with_suffix(".stuck")
    stuck.touch()
    # Until the sound that was heard last no longer counts, however late the daemon looks.
    wait_until(time.monotonic() + WAKE_S + IDLE_READ_S + MARGIN_S)
    fed(daemon)
    lives.speaker.connect()  # the loop still turns
    wait_until(time.monotonic() + 5 * FED_S)
    meals = fed(daemon)
    assert meals == 0
    assert daemon.process.poll() is None
    measured(heard_nothing_s=5 * FED_S, due_every_s=FED_S, fed=meals)


@pytest.mark.promise("P37")
def test_systemd_restarts_it_in_time(measured: Callable[..., None]) -> None:
    seconds = {
        name: float(value) for name, value in re.findall(r"^(WatchdogSec|RestartSec)=(\d+)s$", UNIT.read_text(), re.M)
    }
    within_s = seconds["WatchdogSec"] + seconds["RestartSec"]
    assert within_s <= RESTART_S
    measured(restart_within_s=within_s)
