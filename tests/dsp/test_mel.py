"""The log-mel spectrogram, against the one that faster-whisper makes for the same models."""

import numpy as np
import pytest

from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.mel import FRAME, RANGE, log_mel, mel_filters


def tone(pitch_hz: float, loud: float = 0.5) -> np.ndarray:
    return (np.sin(np.arange(RATE_HZ) * 2 * np.pi * pitch_hz / RATE_HZ) * loud).astype(np.float32)


def test_same_as_the_models_were_trained_with() -> None:
    spectrogram = log_mel(tone(440), mel_filters(80))
    assert spectrogram.shape == (80, 100)
    # faster-whisper 1.2, FeatureExtractor(feature_size=80), of the same tone.
    assert spectrogram[[0, 10, 20, 40], [0, 10, 50, 90]] == pytest.approx(
        [0.9832788, 1.348738, -0.5617962, -0.5617962], abs=1e-5
    )


@pytest.mark.parametrize("bands", [80, 128])
def test_each_band_hears_its_own_frequencies(bands: int) -> None:
    filters = mel_filters(bands)
    assert filters.shape == (bands, FRAME // 2 + 1)
    loudest = [int(log_mel(tone(pitch_hz), filters)[:, 50].argmax()) for pitch_hz in (200, 400, 1000, 2000, 4000, 7000)]
    assert loudest == sorted(set(loudest))


def test_what_is_far_below_the_loudest_is_raised() -> None:
    sound = np.concatenate([tone(440), np.zeros(RATE_HZ, np.float32)])
    spectrogram = log_mel(sound, mel_filters(80))
    assert spectrogram.max() - spectrogram.min() == pytest.approx(RANGE / 4)
