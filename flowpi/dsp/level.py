"""How loud a piece of PCM is.

By `audioop` (C, 1 us for 100 ms): numpy would cost the daemon 12 MB for nothing else.
"""

import audioop
import math

from msgspec import Struct

FULL_SCALE = 32_768
SILENCE_DBFS = -96.0
"""The floor of 16 bits; what digital silence is called, since minus infinity is not JSON."""


class Level(Struct, frozen=True):
    """dB relative to full scale, 0 the loudest; `clipped` counts nothing, it says whether a sample hit the rail."""

    dbfs: float
    peak_dbfs: float
    clipped: bool


def rms(pcm: bytes) -> float:
    """Root mean square of int16 little-endian mono PCM, 0 to 1."""
    return audioop.rms(pcm, 2) / FULL_SCALE


def measure(pcm: bytes) -> Level:
    """Level of int16 little-endian mono PCM; of no audio at all: silence."""
    low, high = audioop.minmax(pcm, 2) if pcm else (0, 0)
    peak = max(-low, high)
    return Level(_dbfs(rms(pcm)), _dbfs(peak / FULL_SCALE), peak >= FULL_SCALE - 1)


def _dbfs(value: float) -> float:
    return round(max(SILENCE_DBFS, 20 * math.log10(value)), 1) if value > 0 else SILENCE_DBFS
