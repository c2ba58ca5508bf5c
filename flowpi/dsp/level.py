"""Measures how loud a piece of PCM is.

`audioop` does it in C, in 1 us for 100 ms of sound; numpy would cost the daemon 12 MB for this alone.
"""

import audioop
import math

from msgspec import Struct

FULL_SCALE = 32_768
SILENCE_DBFS = -96.0
"""The floor of 16 bits. It also stands for digital silence, since JSON has no minus infinity."""


class Level(Struct, frozen=True):
    """Levels in dB relative to full scale, where 0 is the loudest. `clipped`: whether any sample hit the limit."""

    dbfs: float
    peak_dbfs: float
    clipped: bool


def rms(pcm: bytes) -> float:
    """Return the root mean square of int16 little-endian mono PCM, from 0 to 1."""
    return audioop.rms(pcm, 2) / FULL_SCALE


def measure(pcm: bytes) -> Level:
    """Return the level of int16 little-endian mono PCM. Empty PCM counts as silence."""
    low, high = audioop.minmax(pcm, 2) if pcm else (0, 0)
    peak = max(-low, high)
    return Level(_dbfs(rms(pcm)), _dbfs(peak / FULL_SCALE), peak >= FULL_SCALE - 1)


def _dbfs(value: float) -> float:
    return round(max(SILENCE_DBFS, 20 * math.log10(value)), 1) if value > 0 else SILENCE_DBFS
