"""What an I2S microphone gives: 24 bits in 32, speech near -60 dBFS, a constant offset, and one channel of two."""

import numpy as np
import soxr

from flowpi.config.loading import load
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.wide import WideConverter
from tests.speech import Recording

SETTINGS = load(None, ["board=i2s-mic"]).audio

SPEECH_DBFS = -60.0

OFFSET_DBFS = -30.0
"""With the gain of the board it would be at full scale, and nothing could be heard."""

OFFSET = round(10 ** (OFFSET_DBFS / 20) * (1 << 23))
"""In steps of 24 bits."""


def soft(pcm: bytes) -> bytes:
    """Return int16 mono 16 kHz as the microphone has it, without the offset, which the device itself adds."""
    samples = soxr.resample(np.frombuffer(pcm, "<i2").astype(np.float64), RATE_HZ, SETTINGS.rate)
    samples *= 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(np.square(samples)))
    left = np.rint(samples * (1 << 23)).astype("<i4") << 8
    return np.stack([left, np.zeros_like(left)], axis=1).tobytes()


def heard(recording: Recording, block_ms: int = 100) -> Recording:
    """Return a recording as flowpi hears it from this microphone with `board: i2s-mic`."""
    wire = np.frombuffer(soft(recording.pcm), "<i4").reshape(-1, 2) + np.array([OFFSET << 8, 0], "<i4")
    converter = WideConverter(SETTINGS.rate, SETTINGS.channels, "S32_LE", SETTINGS.channel, gain_db=SETTINGS.gain_db)
    frames = SETTINGS.rate * block_ms // 1000
    blocks = [converter.feed(wire[at : at + frames].tobytes()) for at in range(0, len(wire), frames)]
    return Recording(f"{recording.name}, soft", b"".join(blocks) + converter.flush(), recording.text)
