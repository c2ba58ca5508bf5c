"""The log-mel spectrogram, as Whisper's models were trained with it.

The frames are 25 ms long and begin every 10 ms. The scale of the mel filters is Slaney's: linear below 1 kHz,
logarithmic above. Imports numpy: only for who imports it late.
"""

from typing import Any

import numpy as np

from flowpi.dsp.format import RATE_HZ

FRAME, HOP = RATE_HZ // 40, RATE_HZ // 100
"""The length of a frame and the distance between two, in samples."""

RANGE = 8.0
"""The powers of ten below the loudest value of a spectrogram; what is fainter is raised to there."""

_LINEAR_HZ, _LINEAR_MEL, _LOG_STEP = 1000.0, 15.0, np.log(6.4) / 27


def log_mel(samples: Any, filters: Any) -> Any:
    """Return the spectrogram of sound.

    Args:
        samples: float32, shape (samples,), -1 to 1, 16 kHz; at least a frame.
        filters: what `mel_filters` returns.

    Returns:
        float32, shape (bands, samples // HOP), about -1 to 2.
    """
    padded = np.pad(samples, FRAME // 2, mode="reflect")
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][: len(samples) // HOP]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    level = np.log10(np.maximum(filters @ power.T.astype(np.float32), 1e-10))
    level = np.maximum(level, level.max() - RANGE)
    return ((level + 4) / 4).astype(np.float32)


def mel_filters(bands: int) -> Any:
    """Return how much each frequency adds to each band: float32, shape (bands, FRAME // 2 + 1)."""
    edges = _hz(np.linspace(0, _mel(RATE_HZ / 2), bands + 2))
    frequencies = np.arange(FRAME // 2 + 1) * (RATE_HZ / FRAME)
    widths = np.diff(edges)[:, None]
    rising = (frequencies - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - frequencies) / widths[1:]
    area = (2 / (edges[2:] - edges[:-2]))[:, None]
    return (np.maximum(0, np.minimum(rising, falling)) * area).astype(np.float32)


def _mel(hz: float) -> float:
    """Return the mel of a frequency above `_LINEAR_HZ`."""
    return float(_LINEAR_MEL + np.log(hz / _LINEAR_HZ) / _LOG_STEP)


def _hz(mel: Any) -> Any:
    above = _LINEAR_HZ * np.exp((mel - _LINEAR_MEL) * _LOG_STEP)
    return np.where(mel < _LINEAR_MEL, mel * _LINEAR_HZ / _LINEAR_MEL, above)
