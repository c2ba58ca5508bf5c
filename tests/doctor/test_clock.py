import ctypes
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flowpi.doctor import clock
from flowpi.host.clock import is_synchronised
from tests.rig.wall_clock import WallClock
from tests.waiting import PATIENCE_S

UNSYNC = 0x40
"""STA_UNSYNC, of linux/timex.h."""

TODAY = 1_795_000_000.0


@pytest.mark.parametrize(
    ("now", "synchronised", "level", "code"),
    [
        (TODAY, True, "ok", "works"),
        (TODAY, False, "warning", "unsynchronised"),
        (0.0, False, "failure", "clock_unset"),
        (0.0, True, "failure", "clock_unset"),
    ],
)
def test_the_clock(now: float, synchronised: bool, level: str, code: str) -> None:
    finding = clock.judge(now, synchronised)
    assert (finding.level, finding.code) == (level, code)
    assert bool(finding.hint) == (level != "ok")


def test_the_year_is_named() -> None:
    assert "it is 1970 here" in clock.judge(0.0, False).message


def test_a_clock_that_is_years_behind(tmp_path: Path) -> None:
    wrong, behind_s = WallClock(tmp_path / "clock"), 5 * 365 * 86_400
    wrong.leap(-behind_s)
    command = [sys.executable, "-m", "flowpi", "doctor", "--json", "--set", "audo.device=x"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, **wrong.environment}, timeout=PATIENCE_S)
    (finding,) = [finding for finding in json.loads(done.stdout) if finding["part"] == "clock"]
    assert (finding["level"], finding["code"]) == ("failure", "clock_unset")
    assert f"it is {time.gmtime(time.time() - behind_s).tm_year} here" in finding["message"]


def test_the_kernel_is_asked_and_nothing_is_set() -> None:
    before = time.time() - time.monotonic()
    (finding,) = clock.examine()
    assert finding.code in ("works", "unsynchronised")
    buffer = ctypes.create_string_buffer(1024)
    ctypes.CDLL(None).adjtimex(buffer)
    status = struct.unpack_from("@i4l i", buffer)[-1]  # of struct timex
    assert is_synchronised() == (finding.code == "works") == (not status & UNSYNC)
    assert abs(time.time() - time.monotonic() - before) < 1
