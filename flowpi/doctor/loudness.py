"""Whether somebody who speaks is loud enough, and not too loud. Pure."""

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
"""RMS of the loud tenths of a second. Below, 16 bits and the noise of cheap microphones take their part."""

CLIPPED = 2
"""Tenths of a second with a sample at the rail; one may be a bump on the table."""

ABOVE_NOISE_DB = 6.0
"""Speech is so much louder than no speech at least, or it was none."""

NOISE_DB = 15.0
"""With less between speech and noise, words are lost."""


def loudness(noise: Sequence[Level], speech: Sequence[Level]) -> tuple[float, float]:
    """RMS in dBFS of the noise, in the middle, and of the speech, at the edge of its loudest fifth: who speaks makes
    pauses. Of nothing: silence."""
    return _at(noise, 1 / 2), _at(speech, 4 / 5)


def _at(levels: Sequence[Level], share: float) -> float:
    ranked = sorted(level.dbfs for level in levels)
    return ranked[int(share * (len(ranked) - 1))] if ranked else SILENCE_DBFS


def assess(noise: Sequence[Level], speech: Sequence[Level]) -> Loudness:
    """Of ten levels a second: while somebody was asked to be quiet, and then to speak."""
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
