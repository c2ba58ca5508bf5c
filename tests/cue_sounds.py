"""Makes the tones that flowpi ships: `python -m tests.cue_sounds` writes flowpi/data/cue-*.wav.

Told apart by their melody, as the patterns of the LED are by rhythm: one note for the start, a lower one for the stop,
down and up for "kept", two low ones for an error. Each note fades in and out, or it would click.
"""

import math
from array import array
from pathlib import Path

from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.wav import wav_header

DATA = Path(__file__).parents[1] / "flowpi" / "data"
FADE_S = 0.008
PEAK = 0.8 * 32767

NOTES: dict[str, tuple[tuple[float, float], ...]] = {
    "start": ((880.0, 0.07),),
    "stop": ((587.0, 0.07),),
    "kept": ((587.0, 0.08), (880.0, 0.08)),
    "error": ((294.0, 0.08), (0.0, 0.02), (294.0, 0.08)),
}
"""Pitch in Hz, 0 for none, and seconds."""


def note(pitch_hz: float, duration_s: float) -> bytes:
    frames = round(duration_s * RATE_HZ)
    fade = round(FADE_S * RATE_HZ)
    samples = array("h")
    for at in range(frames):
        envelope = min(1.0, at / fade, (frames - 1 - at) / fade)
        samples.append(round(PEAK * envelope * math.sin(2 * math.pi * pitch_hz * at / RATE_HZ)))
    return samples.tobytes()


def wav(name: str) -> bytes:
    pcm = b"".join(note(pitch_hz, duration_s) for pitch_hz, duration_s in NOTES[name])
    return wav_header(len(pcm)) + pcm


if __name__ == "__main__":
    for name in NOTES:
        (DATA / f"cue-{name}.wav").write_bytes(wav(name))
