"""`flowpi doctor --calibrate`: guides the user at a terminal to a good input level, with a live meter."""

import sys

from flowpi.audio.cards import card_of, resolved
from flowpi.config.schema import AudioSettings, Config
from flowpi.core.errors import MicrophoneError, UsageError
from flowpi.doctor import microphone
from flowpi.doctor.ask import faults_of, levels_of
from flowpi.doctor.loudness import GOOD_DBFS, QUIETER, Loudness, assess, loudness
from flowpi.doctor.mixer import gain_of, line
from flowpi.dsp.level import Level

QUIET_S, SPEAK_S = 2.0, 6.0

BAR = 40
"""The width of the meter in columns, for -60 to 0 dBFS."""

EXIT_CODES = {Loudness.GOOD: 0, Loudness.NOISY: 1, Loudness.NOBODY: 1, Loudness.QUIET: 1, Loudness.CLIPPING: 1}
"""The exit code of each verdict; 2 for the others, where no sound is heard at all."""


def calibrate(config: Config) -> int:
    """Measure until the level is good or the user stops; return an exit code like `doctor`.

    Raises:
        UsageError: stdin or stdout is no terminal.
        MicrophoneError: the microphone cannot be opened.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--calibrate needs somebody at a terminal", "run it in a terminal (ssh -t)")
    while True:
        noise = _hear(config, QUIET_S, f"Be quiet for {QUIET_S:.0f} s ...")
        speech = _hear(config, SPEAK_S, f"Now speak for {SPEAK_S:.0f} s, as you will when you dictate ...")
        verdict = assess(noise, speech)
        print(say(verdict, loudness(noise, speech), config.audio), flush=True)
        if verdict is Loudness.GOOD or not input("Again? y/n ").strip().lower().startswith("y"):
            return EXIT_CODES.get(verdict, 2)


def _hear(config: Config, seconds: float, request: str) -> list[Level]:
    """Print the request, then return the levels of the next `seconds` while a meter shows them."""
    print(request, flush=True)
    levels: list[Level] = []
    if faults_of(config) is None:
        levels = microphone.listen(config, seconds, _meter).levels
    else:
        for payload in levels_of(config, seconds):
            levels.append(Level(**payload))
            _meter(levels[-1])
    print("\r\033[K", end="", flush=True)
    return levels


def _meter(level: Level) -> None:
    print("\r\033[K" + meter(level), end="", flush=True)


def meter(level: Level) -> str:
    """Return the meter as one line: a bar of the level with a mark at the peak, and the level in dBFS."""
    bar, peak = (round(BAR * (1 + max(-60.0, value) / 60)) for value in (level.dbfs, level.peak_dbfs))
    drawn = "".join("#" if at < bar else "|" if at == peak - 1 else " " for at in range(BAR))
    return f"[{drawn}] {level.dbfs:6.1f} dBFS{'  too loud' if level.clipped else ''}"


def say(verdict: Loudness, measured_dbfs: tuple[float, float], audio: AudioSettings) -> str:
    """Return the result for the user, with the command or advice that fixes it.

    Args:
        verdict: the result of `assess`.
        measured_dbfs: the noise and the speech, see `loudness`.
        audio: the microphone, and the gain with which it was heard.
    """
    noise, speech = measured_dbfs
    measured = f"speech {speech:.0f} dBFS, noise {noise:.0f} dBFS"
    card = _card_of(audio.device)
    match verdict:
        case Loudness.GOOD:
            return f"good: {measured}"
        case Loudness.QUIET:
            more = f"if that is not enough, raise audio.gain_db by {GOOD_DBFS - speech:.0f}"
            return f"too quiet ({measured}): {line(card, gain_of(card), louder=True)}; {more}"
        case Loudness.CLIPPING:
            first = f"lower audio.gain_db, which is {audio.gain_db:g}; if that is not enough, "
            where = f"{first if audio.gain_db > 0 else ''}{line(card, gain_of(card), louder=False)}"
            return f"too loud, it hits the rail ({measured}): {where}"
        case Loudness.NOISY:
            return f"noisy ({measured}): {QUIETER}"
        case Loudness.NOBODY:
            return f"nobody spoke, or hardly ({measured}): speak, or come nearer"
        case _:
            return f"{verdict.value}: `flowpi doctor` says what is wrong with the microphone"


def _card_of(device: str) -> str | None:
    """Return the card that the mixer's command is about, or None for that of ALSA's default."""
    try:
        return card_of(resolved(device))
    except MicrophoneError:  # it was unplugged meanwhile
        return None
