"""The speed of a model on this machine."""

import math
import threading
import time
from collections.abc import Callable
from importlib import resources

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.wav import wav_payload

SAMPLE_S = 3
"""The length of the speech that the machine is measured with."""

MEASURE_MAX_S = 5.0
"""The time after which a measurement is halted: twice as slow as any machine that keeps up with speech."""


def cpu_ratio(
    transcribe: Callable[[bytes], object | None],
    halt: Callable[[], None],
    clock: Callable[[], float] = time.thread_time,
) -> float:
    """Return the CPU time that a model needs for a second of speech, infinite if it is beyond use.

    Args:
        transcribe: recognises int16 mono 16 kHz; returns None once it was halted.
        halt: halts it, from another thread.
        clock: the CPU time in seconds of what the model runs on; by default this thread, as others may be busy.
    """
    demo = resources.files("flowpi") / "data" / "demo.wav"
    pcm = bytes(wav_payload(demo.read_bytes()))[: SAMPLE_S * RATE_HZ * FRAME_BYTES]
    halting = threading.Timer(MEASURE_MAX_S, halt)
    halting.start()
    began_s = clock()
    text = transcribe(pcm)
    spent_s = clock() - began_s
    halting.cancel()
    return math.inf if text is None else spent_s / SAMPLE_S


def speed(ratio: float) -> str:
    """Return a `cpu_ratio` in words."""
    return f"{ratio:.3f} s of CPU for a second of speech" if math.isfinite(ratio) else "too slow to be measured"
