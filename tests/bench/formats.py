"""What it costs to convert the sound of a microphone to int16 mono 16 kHz, by the form in which the device gives it.

python -m tests.bench.formats
"""

import statistics
import time
from collections.abc import Callable

import numpy as np

from flowpi.dsp.pcm import Converter
from flowpi.dsp.wide import WideConverter

READ_MS = 100
"""How much is converted at once: what a read finds."""

ROUNDS = 15
SECONDS = 4
"""Each figure is the median of so many rounds of so much sound. The rounds of all forms alternate."""

NATIVE, STEREO, LOUDER = "16 bits, 16 kHz", "16 bits, 48 kHz stereo", "the same, 30 dB louder"
PACKED, WIDE, WIDE_16_KHZ = "24 bits in three bytes, 48 kHz stereo", "32 bits, 48 kHz stereo", "32 bits, 16 kHz"

Form = tuple[Callable[[bytes], bytes], int]
"""A converter, and the bytes of a second."""


def forms() -> dict[str, Form]:
    return {
        NATIVE: (Converter(16_000).feed, 16_000 * 2),
        STEREO: (Converter(48_000, 2).feed, 48_000 * 4),
        LOUDER: (Converter(48_000, 2, gain_db=30).feed, 48_000 * 4),
        PACKED: (WideConverter(48_000, 2, "S24_3LE", 0, gain_db=30).feed, 48_000 * 6),
        WIDE: (WideConverter(48_000, 2, "S32_LE", 0, gain_db=30).feed, 48_000 * 8),
        WIDE_16_KHZ: (WideConverter(16_000, 1, "S32_LE", gain_db=30).feed, 16_000 * 4),
    }


def measure() -> dict[str, float]:
    """Return the CPU time of each form, in ms for a second of sound."""
    noise = np.random.default_rng(0).integers(-(1 << 20), 1 << 20, 48_000 * 2, "<i4").tobytes()
    tried, costs = forms(), dict[str, list[float]]()
    for _ in range(ROUNDS):
        for name, (convert, second) in tried.items():
            read = noise[: second * READ_MS // 1000]
            began = time.process_time()
            for _ in range(SECONDS * 1000 // READ_MS):
                convert(read)
            costs.setdefault(name, []).append((time.process_time() - began) * 1000 / SECONDS)
    return {name: statistics.median(each) for name, each in costs.items()}


if __name__ == "__main__":
    for name, cost_ms in measure().items():
        print(f"{name:42}{cost_ms:8.3f} ms of CPU for a second of sound")
