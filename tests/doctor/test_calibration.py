"""The calibration: its verdicts on levels, its advice for a mixer, and the dialogue at a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.audio.cards import Card
from flowpi.config.schema import AudioSettings, Config
from flowpi.core.errors import UsageError
from flowpi.doctor.calibration import calibrate, meter, say
from flowpi.doctor.loudness import Loudness, assess, loudness
from flowpi.doctor.mixer import Gain, line, parse
from flowpi.dsp.level import Level
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S


def quiet(dbfs: float) -> list[Level]:
    return [Level(dbfs, dbfs + 10, False)] * 20


def spoken(dbfs: float, *, clipped: int = 0) -> list[Level]:
    """Return six seconds of levels that vary by 6 dB, with a pause."""
    return [Level(dbfs - (n % 4) * 2, min(0.0, dbfs + 12), n < clipped) for n in range(50)] + quiet(-70)[:10]


@pytest.mark.parametrize(
    ("noise", "speech", "verdict"),
    [
        ([], [], Loudness.NOTHING),
        (quiet(-96), [Level(-96.0, -96.0, False)] * 60, Loudness.SILENCE),
        (quiet(-60), spoken(-25), Loudness.GOOD),
        (quiet(-70), spoken(-40), Loudness.GOOD),
        (quiet(-70), spoken(-43), Loudness.QUIET),
        (quiet(-90), spoken(-60), Loudness.QUIET),
        (quiet(-50), spoken(-10, clipped=1), Loudness.GOOD),
        (quiet(-50), spoken(-10, clipped=2), Loudness.CLIPPING),
        (quiet(-8), spoken(-5, clipped=20), Loudness.CLIPPING),
        (quiet(-44), spoken(-30), Loudness.NOISY),
        (quiet(-60), quiet(-60), Loudness.NOBODY),
        (quiet(-60), quiet(-60) * 3 + [Level(-20.0, -10.0, False)], Loudness.NOBODY),
    ],
)
def test_the_verdict(noise: list[Level], speech: list[Level], verdict: Loudness) -> None:
    assert assess(noise, speech) is verdict


def test_speech_and_noise_are_what_is_mostly_so() -> None:
    assert loudness([*quiet(-70), Level(-10.0, 0.0, False)], spoken(-30)) == (-70, -30)
    assert loudness([], []) == (-96, -96)


USB = """\
Simple mixer control 'Speaker',0
  Capabilities: pvolume pswitch
  Playback channels: Front Left - Front Right
  Limits: Playback 0 - 37
  Front Left: Playback 14 [38%] [-23.00dB] [on]
Simple mixer control 'Mic',0
  Capabilities: pvolume pvolume-joined cvolume cvolume-joined pswitch pswitch-joined cswitch cswitch-joined
  Playback channels: Mono
  Capture channels: Mono
  Limits: Playback 0 - 31 Capture 0 - 35
  Mono: Playback 0 [0%] [-0.00dB] [off] Capture 25 [71%] [17.00dB] [on]
"""
WM8960 = """\
Simple mixer control 'Headphone',0
  Capabilities: pvolume
  Front Left: Playback 109 [86%] [-12.00dB]
Simple mixer control 'Capture',0
  Capabilities: cvolume cswitch
  Capture channels: Front Left - Front Right
  Limits: Capture 0 - 63
  Front Left: Capture 39 [62%] [12.00dB] [on]
  Front Right: Capture 39 [62%] [12.00dB] [on]
"""


@pytest.mark.parametrize(
    ("output", "gain"),
    [
        (USB, Gain("Mic", 71)),
        (WM8960, Gain("Capture", 62)),
        ("", None),
        (USB.split("Simple mixer control 'Mic'")[0], None),
    ],
)
def test_the_gain_of_a_card(output: str, gain: Gain | None) -> None:
    found = parse(output)
    assert found == gain


def test_the_line_that_mends_it() -> None:
    gain = Gain("Mic", 71)
    assert line("Device", gain, louder=True) == "amixer -c Device sset 'Mic' 86% cap && sudo alsactl store"
    assert line("Device", gain, louder=False) == "amixer -c Device sset 'Mic' 56% cap && sudo alsactl store"
    assert line(None, Gain("Capture", 95), louder=True).startswith("amixer sset 'Capture' 100%")
    assert "come nearer" in line("Device", Gain("Mic", 100), louder=True)
    assert "move away" in line("Device", Gain("Mic", 0), louder=False)
    assert line("Device", None, louder=True).startswith("alsamixer -c Device (F4")


def test_the_meter() -> None:
    assert meter(Level(-30.0, -15.0, False)) == f"[{'#' * 20}{' ' * 9}|{' ' * 10}]  -30.0 dBFS"
    assert meter(Level(-96.0, -96.0, False)) == f"[{' ' * 40}]  -96.0 dBFS"
    assert meter(Level(-3.0, 0.0, True)).endswith("too loud")


def test_nobody_at_a_terminal() -> None:
    with pytest.raises(UsageError, match="terminal"):
        calibrate(Config())


def calibrated(microphone: Microphone, *options: str, speech: Path | None) -> tuple[int, str]:
    """Return the exit code and the output for a user who speaks at these levels and then stops."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flowpi", "doctor", "--calibrate", "--set", "audio.device=live", *options]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen, said, answered = b"", False, False
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # EIO: the program has ended
            break
        seen += piece
        if speech is not None and b"Now speak" in seen and not said:
            said = True
            microphone.speak(speech)
        if b"Again?" in seen and not answered:
            answered = True
            os.write(ours, b"n\n")
    os.close(ours)
    return process.wait(PATIENCE_S), seen.decode()


def test_somebody_who_speaks(microphone: Microphone, tmp_path: Path) -> None:
    options = ["--set", f"publish.socket.path={tmp_path}/flowpi.sock"]
    code, seen = calibrated(microphone, *options, speech=Path("flowpi/data/demo.wav"))
    assert (code, "good: speech -2" in seen) == (0, True), seen
    assert "#|" in seen.replace(" ", "")  # the meter


def test_somebody_who_says_nothing_to_a_daemon_that_listens(microphone: Microphone, tmp_path: Path) -> None:
    with Appliance(tmp_path, "audio.device=live") as appliance:
        appliance.start()
        code, seen = calibrated(microphone, *appliance.options, speech=None)
    assert (code, "nobody spoke" in seen) == (1, True), seen


def test_speech_that_is_too_quiet_is_told_how_much_louder_to_make_it() -> None:
    said = say(Loudness.QUIET, (-70.0, -47.0), AudioSettings())
    assert said.startswith("too quiet (speech -47 dBFS, noise -70 dBFS): ")
    assert said.endswith("; if that is not enough, raise audio.gain_db by 22")


def test_sound_that_flowpi_itself_makes_too_loud() -> None:
    assert "audio.gain_db" not in say(Loudness.CLIPPING, (-50.0, -10.0), AudioSettings())
    said = say(Loudness.CLIPPING, (-50.0, -10.0), AudioSettings(gain_db=20))
    assert "): lower audio.gain_db, which is 20; if that is not enough, a" in said


def test_the_mixer_is_that_of_the_card_at_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowpi.audio.cards.cards", lambda: [Card(1, "Device_1", True, "1-1.2")])
    said = say(Loudness.QUIET, (-70.0, -47.0), AudioSettings(device="usb:1-1.2"))
    assert "): alsamixer -c Device_1 " in said
    assert "): alsamixer (F4" in say(Loudness.QUIET, (-70.0, -47.0), AudioSettings(device="usb:1-1.3"))
