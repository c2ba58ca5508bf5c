"""Sound that has no word, 30 s of each kind: int16 mono 16 kHz."""

import numpy as np
from numpy.typing import NDArray

from flowpi.dsp.format import RATE_HZ

SECONDS = 30
SAMPLES = SECONDS * RATE_HZ


def silence() -> bytes:
    return pcm(np.zeros(SAMPLES))


def white_noise(level_dbfs: float) -> bytes:
    return pcm(at_level(random().normal(size=SAMPLES), level_dbfs))


def pink_noise() -> bytes:
    """Noise with the same power in each octave, -30 dBFS."""
    spectrum = np.fft.rfft(random().normal(size=SAMPLES))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return pcm(at_level(np.fft.irfft(spectrum, SAMPLES), -30))


def hum() -> bytes:
    """Mains at 50 Hz with its odd harmonics, -30 dBFS."""
    return pcm(at_level(note(50.0, SAMPLES, harmonics=(1, 3, 5, 7)), -30))


def music() -> bytes:
    """A tune over chords, plucked, with three harmonics for each note, -20 dBFS."""
    length = RATE_HZ * 2 // 5
    sound = np.zeros(SAMPLES)
    for at, step in enumerate((0, 4, 7, 12, 7, 4, 5, 9, 12, 9, 5, 2, 7, 11, 14, 11, 7, 4, 0, 7) * 4):
        begin = at * length
        if begin + 2 * length > SAMPLES:
            break
        fading = np.exp(-np.arange(2 * length) / RATE_HZ * 4)
        for key, loud in ((step, 1.0), (step - 12, 0.5), (step - 5, 0.4)):
            played = note(261.6 * 2 ** (key / 12), 2 * length, harmonics=(1, 2, 3))
            sound[begin : begin + 2 * length] += loud * fading * played
    return pcm(at_level(sound, -20))


def clicks() -> bytes:
    """The keys of a keyboard, 5 ms each, five in a second at irregular times."""
    sound, generator = np.zeros(SAMPLES), random()
    for begin in generator.integers(0, SAMPLES - 80, 5 * SECONDS):
        sound[begin : begin + 80] += generator.normal(size=80) * np.exp(-np.arange(80) / 20) * 0.3
    return pcm(sound)


KINDS = {
    "silence": silence,
    "white noise -60 dBFS": lambda: white_noise(-60),
    "white noise -30 dBFS": lambda: white_noise(-30),
    "pink noise": pink_noise,
    "hum": hum,
    "music": music,
    "clicks": clicks,
}


def random() -> np.random.Generator:
    return np.random.default_rng(1)


def note(pitch_hz: float, samples: int, *, harmonics: tuple[int, ...]) -> NDArray[np.float64]:
    phase = 2 * np.pi * pitch_hz * np.arange(samples) / RATE_HZ
    sound: NDArray[np.float64] = np.sum([np.sin(phase * number) / number for number in harmonics], axis=0)
    return sound


def at_level(sound: NDArray[np.float64], level_dbfs: float) -> NDArray[np.float64]:
    gain: float = 10 ** (level_dbfs / 20) / np.sqrt(np.mean(sound**2))
    return sound * gain


def pcm(sound: NDArray[np.float64]) -> bytes:
    return bytes((sound * 32767).clip(-32768, 32767).astype("<i2").tobytes())
