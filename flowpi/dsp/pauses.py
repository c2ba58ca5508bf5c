"""Finds pauses in speech, where a recording can be cut without cutting a word. Pure.

A pause is found by its level alone, compared with the level of the whole recording: that accounts for the speaker, the
room and the gain.
"""

import audioop
import math
from collections import deque
from collections.abc import Sequence

from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES, RATE_HZ

PIECE_FRAMES = RATE_HZ // 10
"""How much is judged at once. In shorter pieces the closure of a consonant, up to 80 ms, looks like a pause."""

FAR_BELOW = 0.18
"""A pause is below this share of the recording's level (15 dB): room noise is quieter, quiet vowels are louder."""

HOP_BYTES = RATE_HZ // 50 * FRAME_BYTES
"""The resolution of `spoken`."""

LATELY = 300
"""How many pieces determine what is a pause in noise: half a minute, after which a speaker or a room may be another."""

FAR_DB, ABOVE_DB, CLOSE_DB = 19.0, 4.0, 8.0
"""In noise, a pause is so far below the loud pieces, or so little above the soft ones; but always that far below the
loud ones. Measured with white noise: pauses are found down to 6 dB below the level of the recording."""


class Pauses:
    """The pauses of one recording, which is fed from its first sample on."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces = 0
        self._power = 0.0

    def feed(self, pcm: bytes) -> bool:
        """Add the next int16 mono PCM, and return whether it ends in a pause. Complete silence is one too."""
        self._rest += pcm
        if len(self._rest) < PIECE_FRAMES * FRAME_BYTES:
            return False
        level, self._rest = audioop.rms(self._rest[-PIECE_FRAMES * FRAME_BYTES :], 2), b""
        self._pieces += 1
        self._power += level**2
        mean: float = (self._power / self._pieces) ** 0.5
        return level <= FAR_BELOW * mean


class PausesInNoise:
    """The pauses of one recording in which noise may be as loud as soft speech: in longer pauses, it is steadier.

    For those who ask for several pieces in a row. A single soft piece of speech is taken for a pause more often.
    """

    def __init__(self) -> None:
        self._levels: deque[float] = deque(maxlen=LATELY)

    def feed(self, pcm: bytes) -> bool:
        """Add the next int16 mono PCM, `PIECE_FRAMES` of it, and return whether it is in a pause."""
        self._levels.append(_dbfs(pcm))
        return self._levels[-1] <= _border(self._levels)


def spoken(pcm: bytes | bytearray) -> tuple[float, float]:
    """Return where speech begins and ends in a recording, in seconds. A constant level gives its whole length.

    Args:
        pcm: int16 mono 16 kHz, with pauses at its ends or none; noise in them does no harm.
    """
    with memoryview(pcm) as view:
        levels = [_dbfs(view[at : at + HOP_BYTES]) for at in range(0, len(pcm), HOP_BYTES)]
    border = _border(levels) if levels else 0.0
    loud = [number for number, level in enumerate(levels) if level > border]
    if not loud:
        return 0.0, len(pcm) / BYTES_PER_S
    return loud[0] * HOP_BYTES / BYTES_PER_S, min((loud[-1] + 1) * HOP_BYTES, len(pcm)) / BYTES_PER_S


def _border(levels: Sequence[float]) -> float:
    """Return the level up to which there is a pause. A few pieces, such as a bang, do not matter."""
    ordered = sorted(levels)
    loud, soft = ordered[len(ordered) * 9 // 10], ordered[len(ordered) // 20]
    return min(max(loud - FAR_DB, soft + ABOVE_DB), loud - CLOSE_DB)


def _dbfs(pcm: bytes | memoryview) -> float:
    """Return the level of int16 PCM without its DC offset, which is no sound."""
    power = audioop.rms(pcm, FRAME_BYTES) ** 2 - audioop.avg(pcm, FRAME_BYTES) ** 2
    return 10 * math.log10(max(power, 1) / 32_768**2)
