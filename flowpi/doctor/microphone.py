"""The check of the microphone: presence, access, and signal. If the daemon has it open, the daemon is asked."""

import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from flowpi.audio.cards import NONE_RECORDS, NOT_AT_PORT, SEVERAL_RECORD, cards
from flowpi.config.schema import Config
from flowpi.core.errors import FlowpiError, MicrophoneError
from flowpi.core.faults import MICROPHONE, MUTED, QUIET, SILENCE
from flowpi.doctor.ask import faults_of, levels_of, text_of
from flowpi.doctor.findings import Finding, fine, skipped
from flowpi.doctor.loudness import QUIETER, noise_dbfs
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import SILENCE_DBFS, Level, measure
from flowpi.dsp.silence import is_constant

PART = "microphone"

LISTEN_S = 1.5
LONGER_S = 4.0
"""The duration of a second measurement if the clock seems wrong: a busy machine looks the same for a moment."""

MOST_OFF = 0.01
"""The largest accepted clock error; sound cards are accurate to a ten-thousandth."""

QUIET_DBFS = -80.0
"""The RMS below which the gain is near zero: else the noise of the room and the microphone is louder."""

BLOCK_S = 0.1
POLL_S = 0.002

REASONS = {
    "No such file or directory": "absent",
    "No such device": "absent",
    "No such device or address": "absent",
    "Device or resource busy": "busy",
    "Permission denied": "forbidden",
    "Operation not permitted": "forbidden",
    NONE_RECORDS: "absent",
    NOT_AT_PORT: "absent",
    SEVERAL_RECORD: "several",
}
"""The code of each error text of alsa-lib, or of `audio/cards.py`; any other text is `broken`."""

SOUND_SERVERS = {
    "pipewire": "pipewire.socket pipewire.service wireplumber.service",
    "wireplumber": "pipewire.socket pipewire.service wireplumber.service",
    "pulseaudio": "pulseaudio.socket pulseaudio.service",
}
"""The sound servers of desktops, and what to stop for good."""


class Heard(Struct):
    """The result of listening to the microphone.

    Attributes:
        levels: the levels, ten a second.
        rate_hz: the sample rate measured by the system clock; None if there was too little audio.
        constant: whether all samples are equal.
    """

    levels: list[Level]
    rate_hz: float | None
    constant: bool


def examine(config: Config) -> list[Finding]:
    faults = faults_of(config)
    if faults is not None and (finding := told(faults)) is not None:
        return [finding]
    if config.audio.source == "wav":
        return [_file(config)]
    if faults is None:
        return _listen(config)
    try:
        levels = [Level(**level) for level in levels_of(config, LISTEN_S)]
    except FlowpiError:  # the daemon has just stopped
        return _listen(config)
    return [judge(levels) or fine(PART, "works: the daemon hears with it")]


def told(faults: dict[str, str]) -> Finding | None:
    """Return the finding for the daemon's faults (messages by code), or None if they do not concern the microphone."""
    if MICROPHONE in faults:
        message, _, hint = faults[MICROPHONE].partition(": ")
        return unusable(message, _reason(message), hint, holders_of_sound())
    if SILENCE in faults:
        return _silent()
    if QUIET in faults:
        message, _, hint = faults[QUIET].partition(": ")
        return Finding(PART, "warning", "quiet", message, hint)
    return fine(PART, "is muted by its owner") if MUTED in faults else None


def _file(config: Config) -> Finding:
    from flowpi.audio.sources import make_source

    source = make_source(config)
    try:
        source.open(time.monotonic())
    except MicrophoneError as error:
        if os.strerror(errno.EACCES) in error.reason:
            return skipped(PART, "this user may not read the file; run it as root (sudo flowpi doctor)")
        return Finding(PART, "failure", "broken", error.message, error.hint)
    source.close()
    return fine(PART, f"plays {config.audio.path!r} instead of a microphone")


def _listen(config: Config) -> list[Finding]:
    try:
        heard = listen(config, LISTEN_S)
        if heard.rate_hz is None or abs(heard.rate_hz / RATE_HZ - 1) > MOST_OFF:
            heard = listen(config, LONGER_S)
    except MicrophoneError as error:
        if not may_use_sound(Path("/dev/snd")):
            return [skipped(PART, "this user may not use sound; run it as root (sudo flowpi doctor)")]
        return [unusable(error.message, error.reason, error.hint, holders_of_sound())]
    if heard.levels and heard.constant:
        return [_silent()]
    found = [judge(heard.levels), judge_rate(heard.rate_hz) if heard.levels else None]
    return [finding for finding in found if finding] or [fine(PART, f"works: {config.audio.device!r}")]


def unusable(message: str, reason: str, hint: str, holders: Sequence[str] = ()) -> Finding:
    """Return the finding for a microphone that cannot be opened.

    Args:
        message: the error.
        reason: the error text of alsa-lib.
        hint: the advice, unless there is a better one for the reason.
        holders: the programs that have a microphone open.
    """
    code = REASONS.get(reason, "broken")
    if code == "absent":
        there = ", ".join(card.device for card in cards() if card.captures) or "none at all"
        message += f"; there is: {there}"
        if reason not in (NONE_RECORDS, NOT_AT_PORT):
            hint = f"set audio.device to one of these: {there}" if there != "none at all" else "plug a microphone in"
    if code == "busy" and holders:
        if all(holder.startswith("flowpi ") for holder in holders):
            return skipped(PART, "flowpi has it, and does not answer this user; run it as root (sudo flowpi doctor)")
        message += f"; held by {', '.join(holders)}"
        if server := next((name for name in SOUND_SERVERS if any(one.startswith(f"{name} ") for one in holders)), ""):
            stop = f"systemctl --user mask --now {SOUND_SERVERS[server]}"
            hint = f"as the user of the desktop, run `{stop}`, or use an image without a desktop"
    return Finding(PART, "failure", code, message, hint or "see `arecord -L` and set audio.device")


def judge(levels: Sequence[Level]) -> Finding | None:
    """Judge about a second of any sound; return None if nothing is wrong. `calibration.py` judges speech."""
    if not levels:
        hint = "plug it in again; see `journalctl -u flowpi`"
        return Finding(PART, "failure", "no_sound", "delivers no sound", hint)
    if all(level.peak_dbfs <= SILENCE_DBFS for level in levels):
        return _silent()
    if sum(level.clipped for level in levels) > 1:
        hint = "lower its gain by `flowpi doctor --calibrate`"
        return Finding(PART, "warning", "clipping", "is too loud: the sound hits the rail", hint)
    if max(level.dbfs for level in levels) < QUIET_DBFS:
        hint = "raise its gain by `flowpi doctor --calibrate`, or set audio.gain_db"
        return Finding(PART, "warning", "quiet", f"gives hardly any noise (below {QUIET_DBFS:g} dBFS)", hint)
    if (noise := noise_dbfs(levels)) is not None:
        what = f"is in a noisy place: {noise:.0f} dBFS at its quietest, so that words are lost"
        return Finding(PART, "warning", "noisy", what, QUIETER)
    return None


def judge_rate(rate_hz: float | None) -> Finding | None:
    """Return a finding if the sample rate is wrong, or None if it is right or not known."""
    if rate_hz is not None and abs(off := rate_hz / RATE_HZ - 1) > MOST_OFF:
        what = f"its clock is off by {off:+.1%}: speech is heard at the wrong pitch"
        return Finding(PART, "warning", "rate", what, "set audio.rate to one of its own: `arecord --dump-hw-params`")
    return None


def _silent() -> Finding:
    what = "gives digital silence, without even noise"
    hint = "look for a mute switch, a loose cable, a gain of zero in `alsamixer`, or a wrong audio.channel"
    return Finding(PART, "failure", "silence", what, hint)


def _reason(message: str) -> str:
    """Return the driver's error text from the message of a MicrophoneError."""
    found = re.search(r"\(([^()]*)\)$", message)
    return found.group(1) if found else ""


def listen(config: Config, seconds: float, tell: Callable[[Level], None] = lambda level: None) -> Heard:
    """Open the microphone and listen.

    Args:
        config: the configuration, for the device.
        seconds: how long to listen.
        tell: called with each level as soon as it is measured.

    Raises:
        MicrophoneError: the microphone cannot be opened, or was lost.
    """
    from flowpi.audio.sources import make_source

    source = make_source(config)
    # The trial first: a device that blocks then blocks this thread only, while `open` would block all of Python.
    if source.trial is not None:
        source.trial()
    source.open(time.monotonic())
    levels: list[Level] = []
    arrivals: list[tuple[float, int]] = []
    sound, block, frames = b"", b"", 0
    try:
        started = time.monotonic()
        while (now := time.monotonic()) - started < seconds:
            pcm = b"".join(piece for piece in source.read(now) if isinstance(piece, bytes))
            if pcm:
                frames += len(pcm) // FRAME_BYTES
                arrivals.append((now, frames))
                sound += pcm
                block += pcm
                size = int(BLOCK_S * RATE_HZ) * FRAME_BYTES
                while len(block) >= size:
                    levels.append(measure(block[:size]))
                    tell(levels[-1])
                    block = block[size:]
            time.sleep(POLL_S)
    finally:
        source.close()
    return Heard(levels, rate_of(arrivals), is_constant(memoryview(sound)))


def rate_of(arrivals: Sequence[tuple[float, int]]) -> float | None:
    """Return the frames per second, or None if there are too few arrivals.

    The rate is the slope of the least-squares line, so that a late delivery matters little. The first fifth is left
    out, as the device may still be starting.

    Args:
        arrivals: (seconds, frames so far) at each delivery.
    """
    points = arrivals[len(arrivals) // 5 :]
    if len(points) < 10:
        return None
    middle_s = sum(at for at, _ in points) / len(points)
    middle = sum(frames for _, frames in points) / len(points)
    spread = sum((at - middle_s) ** 2 for at, _ in points)
    return sum((at - middle_s) * (frames - middle) for at, frames in points) / spread if spread else None


def may_use_sound(devices: Path) -> bool:
    """Whether this user may use a card, or there is none: alsa-lib reports a forbidden card as missing."""
    cards = list(devices.glob("controlC*"))
    return not cards or any(os.access(card, os.R_OK | os.W_OK) for card in cards)


def holders_of_sound(proc: Path = Path("/proc")) -> list[str]:
    """Return the programs that have a capture device open, as `program (process)`."""
    found = []
    for status in sorted(proc.glob("asound/card*/pcm*c/sub*/status")):
        if owner := re.search(r"^owner_pid *: (\d+)$", text_of(status), re.MULTILINE):
            pid = owner.group(1)
            name = text_of(proc / pid / "comm").strip() or "a program"
            found.append(f"{name} (process {pid})")
    return list(dict.fromkeys(found))
