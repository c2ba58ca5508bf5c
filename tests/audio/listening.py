"""Reads a source in real time until it has given what it must. Nothing here waits for time alone."""

import array
import itertools
import math
import select
import time

from flowpi.audio.source import Gap, Heard, Source
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from tests.waiting import PATIENCE_S


def wait_until(moment: float) -> None:
    """Wait, while real devices run, until `time.monotonic()` reaches `moment`."""
    while (left := moment - time.monotonic()) > 0:
        select.select([], [], [], left)


def listen(source: Source, frames: int) -> list[Heard]:
    """Read at each `due()` until `frames` frames, including gaps, have been heard."""
    heard: list[Heard] = []
    deadline = time.monotonic() + PATIENCE_S
    while length(heard) < frames:
        assert time.monotonic() < deadline, f"{length(heard)} of {frames} frames heard"
        wait_until(source.due(time.monotonic()))
        heard += source.read(time.monotonic())
    return heard


def read_once(source: Source) -> tuple[list[Heard], float, float]:
    """Read, and return what was heard, with a moment before the read and one after it: a busy machine may be late."""
    before = time.monotonic()
    heard = source.read(before)
    return heard, before, time.monotonic()


def length(heard: list[Heard]) -> int:
    """Return the number of frames, including gaps."""
    return sum(piece.frames if isinstance(piece, Gap) else len(piece) // FRAME_BYTES for piece in heard)


def sound(heard: list[Heard]) -> bytes:
    """Return the audio without its gaps."""
    return b"".join(piece for piece in heard if isinstance(piece, bytes))


def gaps(heard: list[Heard]) -> list[Gap]:
    return [piece for piece in heard if isinstance(piece, Gap)]


def samples(pcm: bytes) -> "array.array[int]":
    """Return the samples as unsigned 16 bits, in which the clock microphone and the ramp file count."""
    return array.array("H", pcm)


def missing(pcm: bytes) -> list[int]:
    """Return how many frames are missing at each place where the samples of a clock skip numbers."""
    numbers = samples(pcm)
    steps = ((after - before) % 65_536 for before, after in itertools.pairwise(numbers))
    return [step - 1 for step in steps if step != 1]


def sine(seconds: float, rate_hz: int = RATE_HZ, amplitude: int = 10_000) -> "array.array[int]":
    """Return a tone of 440 Hz, int16 mono."""
    turn = 2 * math.pi * 440 / rate_hz
    return array.array("h", (round(amplitude * math.sin(turn * n)) for n in range(round(seconds * rate_hz))))
