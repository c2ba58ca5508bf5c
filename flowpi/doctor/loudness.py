"""Judges from measured levels whether speech is loud enough and not too loud. Without I/O."""

import enum
from collections.abc import Sequence

from flowpi.dsp.level import SILENCE_DBFS, Level


class Loudness(enum.Enum):
    NOTHING = "no sound comes"
    SILENCE = "digital silence"
    NOBODY = "nobody spoke"
    QUIET = "too quiet"
    CLIPPING = "too loud"
    NOISY = "noisy"
    GOOD = "good"


SPEECH_DBFS = -42.0
"""The lowest good RMS of the loud tenths of a second. Below, 16-bit resolution and microphone noise degrade speech."""

CLIPPED = 2
"""The number of tenths of a second with a clipped sample that count as too loud; one may be a bump on the table."""

GOOD_DBFS = -25.0
"""The level of speech to aim at with `audio.gain_db`."""

WORDS_LOST_DB = 10.0
"""With less between speech and steady noise, the recogniser makes three to four times as many errors."""

QUIETER = (
    "come nearer to the microphone, or away from what makes the noise; against a fan or hum, audio.denoise: speex "
    "helps the recogniser on this machine"
)

LEAST_LEVELS = 10
"""Tenths of a second that must be heard before a place is called noisy."""

ABOVE_NOISE_DB = 6.0
"""The least difference between speech and noise; with less, nobody spoke."""

NOISE_DB = 15.0
"""The good difference between speech and noise; with less, words are lost."""


def loudness(noise: Sequence[Level], speech: Sequence[Level]) -> tuple[float, float]:
    """Return the RMS of noise and speech in dBFS; `SILENCE_DBFS` for an empty sequence.

    The noise is the median of its levels; the speech is the 80th percentile, because speech has pauses.
    """
    return _at(noise, 1 / 2), _at(speech, 4 / 5)


def noise_dbfs(levels: Sequence[Level]) -> float | None:
    """Return the level of the noise if words are lost in it, or None if they are not or somebody speaks.

    The noise is the quietest tenth of the levels, ten a second. It is compared with `GOOD_DBFS`, because nobody was
    asked to speak.
    """
    noise = _at(levels, 1 / 10)
    steady = _at(levels, 4 / 5) - noise < ABOVE_NOISE_DB
    return noise if len(levels) >= LEAST_LEVELS and steady and noise > GOOD_DBFS - WORDS_LOST_DB else None


def _at(levels: Sequence[Level], share: float) -> float:
    ranked = sorted(level.dbfs for level in levels)
    return ranked[int(share * (len(ranked) - 1))] if ranked else SILENCE_DBFS


def assess(noise: Sequence[Level], speech: Sequence[Level]) -> Loudness:
    """Judge the levels, ten a second, of a time when the user was asked to be quiet and then to speak."""
    if not speech:
        return Loudness.NOTHING
    if all(level.peak_dbfs <= SILENCE_DBFS for level in speech):
        return Loudness.SILENCE
    if sum(level.clipped for level in speech) >= CLIPPED:
        return Loudness.CLIPPING
    quiet, loud = loudness(noise, speech)
    if loud - quiet < ABOVE_NOISE_DB:
        return Loudness.NOBODY
    if loud < SPEECH_DBFS:
        return Loudness.QUIET
    return Loudness.NOISY if loud - quiet < NOISE_DB else Loudness.GOOD
