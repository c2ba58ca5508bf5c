"""`flowpi transcribe` as a process, through `flowpi serve`: an hour of speech, and when its words are said."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flowpi.dsp.format import BYTES_PER_S
from tests.speech import two_cities
from tests.waiting import PATIENCE_S, wait_for

WORD_ENDS = {
    "times": 4.58,
    "wisdom": 6.2,
    "foolishness": 8.22,
    "belief": 10.32,
    "incredulity": 12.75,
    "light": 14.82,
    "darkness": 16.72,
    "despair": 20.44,
    "us": 24.04,
    "heaven": 25.97,
    "way": 28.25,
    "short": 29.61,
    "period": 32.28,
    "received": 36.59,
    "evil": 38.33,
    "only": 41.63,
}
"""Where the words before the pauses of `two_cities` end, in seconds: by the forced alignment of pocketsphinx 5."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str
    peak_mb: float


@pytest.fixture
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve an engine, which is `request.param`, and return the option that names it."""
    socket = tmp_path / "asr.sock"
    command = [sys.executable, "-m", "flowpi", "serve", "--listen", f"unix:{socket}", "-o"]
    server = subprocess.Popen([*command, f"server.engine={request.param}"], env=environment())
    try:
        wait_for(socket.exists, "the recogniser is not there")
        yield f"backends.local.url=ws+unix://{socket}"
    finally:
        server.kill()
        server.wait()


def environment() -> dict[str, str]:
    return {**os.environ, "FLOWPI_CONFIG": "/dev/null", "TERM": "xterm", "COLUMNS": "60"}


def sound_file(path: Path, times: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        for _ in range(times):
            file.writeframes(two_cities().pcm)
    return path


def transcribe(*arguments: str | Path, terminal: bool = False) -> Ended:
    """Run the command to its end, with a pipe or a terminal as stderr."""
    reader, writer = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "flowpi", "transcribe", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
        env=environment(),
    )
    os.close(writer)
    assert process.stdout
    watchdog = threading.Timer(PATIENCE_S, process.kill)
    watchdog.start()
    told: list[bytes] = []
    thread = threading.Thread(target=_read, args=(reader, told))
    thread.start()
    with process.stdout as stdout:
        out = stdout.read().decode()
    thread.join()
    _, status, usage = os.wait4(process.pid, 0)
    watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    return Ended(process.returncode, out, b"".join(told).decode(), usage.ru_maxrss / 1024)


def _read(handle: int, told: list[bytes]) -> None:
    try:
        while data := os.read(handle, 65_536):
            told.append(data)
    except OSError:  # EIO: the other end of the terminal is closed
        pass
    os.close(handle)


@pytest.mark.parametrize("served", ["moonshine"], indirect=True)
def test_the_times_are_those_of_the_words_at_pauses(served: str, tmp_path: Path) -> None:
    ended = transcribe("-o", served, "-f", "json", sound_file(tmp_path / "speech.wav", 1))
    assert (ended.code, ended.err) == (0, "")
    segments = json.loads(ended.out)["segments"]
    assert len(segments) >= 6
    for segment in segments:
        word = re.findall(r"\w+", segment["text"].lower())[-1]
        assert segment["end"] == pytest.approx(WORD_ENDS[word], abs=0.3), segment


@pytest.mark.parametrize("served", ["echo"], indirect=True)
def test_an_hour(served: str, tmp_path: Path) -> None:
    six_minutes, hour = sound_file(tmp_path / "short.wav", 8), sound_file(tmp_path / "hour.wav", 82)
    for form in ("txt", "json"):
        short = transcribe("-o", served, "-f", form, six_minutes)
        long = transcribe("-o", served, "-f", form, hour)
        assert (short.code, long.code) == (0, 0)
        assert long.peak_mb < short.peak_mb + 6
        assert long.err == ""
    segments = json.loads(long.out)["segments"]
    assert len(segments) > 500
    period_s = len(two_cities().pcm) / BYTES_PER_S
    ends = [segment["end"] % period_s for segment in segments]
    # A phrase that runs on through the joint of two recordings is cut elsewhere than in the first of them.
    assert sum(any(abs(end - word) < 0.3 for word in WORD_ENDS.values()) for end in ends) > 0.9 * len(ends)


@pytest.mark.parametrize("served", ["echo"], indirect=True)
def test_a_terminal_shows_how_far_it_is(served: str, tmp_path: Path) -> None:
    ended = transcribe("-o", served, "-f", "srt", sound_file(tmp_path / "speech.wav", 1), terminal=True)
    assert ended.code == 0
    first, *shown, last = ended.err.split("\r\x1b[K")
    assert first == last == ""  # the line is gone at the end
    assert shown[0] == "speech.wav  0:00 of 0:44"
    assert any(line.startswith("speech.wav  0:36 of 0:44") for line in shown), shown
