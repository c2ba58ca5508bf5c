"""Whether somebody who speaks is loud enough, and not too loud. Pure."""

import enum
from collections.abc import Sequence

from flowpi.dsp.level import SILENCE_DBFS, Level


class Verdict(enum.Enum):
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
"""Speech is so much louder than its pauses at least, or it was none."""

NOISE_DB = 15.0
"""With less between speech and noise, words are lost."""


def loudness(levels: Sequence[Level]) -> tuple[float, float]:
    """RMS in dBFS of the speech, and of the noise in its pauses: the loudest and the quietest fifth, at their inner
    edge. Of nothing: silence."""
    if not levels:
        return SILENCE_DBFS, SILENCE_DBFS
    ranked = sorted(level.dbfs for level in levels)
    fifth = len(ranked) // 5
    return ranked[-1 - fifth], ranked[fifth]


def assess(levels: Sequence[Level]) -> Verdict:
    """Of ten levels a second while somebody was asked to speak, pauses and all."""
    if not levels:
        return Verdict.NOTHING
    if all(level.peak_dbfs <= SILENCE_DBFS for level in levels):
        return Verdict.SILENCE
    if sum(level.clipped for level in levels) >= CLIPPED:
        return Verdict.CLIPPING
    speech, noise = loudness(levels)
    if speech - noise < ABOVE_NOISE_DB:
        return Verdict.NOBODY
    if speech < SPEECH_DBFS:
        return Verdict.QUIET
    return Verdict.NOISY if speech - noise < NOISE_DB else Verdict.GOOD
