"""Reading a source in real time, for as long as there must be something to hear. Nothing here waits for time alone."""

import array
import itertools
import math
import select
import time

from flowpi.audio.source import Gap, Heard, Source
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from tests.waiting import PATIENCE_S


def wait_until(moment: float) -> None:
    """Let real devices run on until `moment` of `time.monotonic()`."""
    while (left := moment - time.monotonic()) > 0:
        select.select([], [], [], left)


def listen(source: Source, frames: int) -> list[Heard]:
    """Read at each `due()` until so many frames, gaps counted, were heard."""
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
    """Frames, gaps counted."""
    return sum(piece.frames if isinstance(piece, Gap) else len(piece) // FRAME_BYTES for piece in heard)


def sound(heard: list[Heard]) -> bytes:
    """The audio without its gaps."""
    return b"".join(piece for piece in heard if isinstance(piece, bytes))


def gaps(heard: list[Heard]) -> list[Gap]:
    return [piece for piece in heard if isinstance(piece, Gap)]


def samples(pcm: bytes) -> "array.array[int]":
    """As unsigned 16 bits: what the clock microphone and the ramp file count in."""
    return array.array("H", pcm)


def missing(pcm: bytes) -> list[int]:
    """How many frames are missing wherever the counting samples of a clock do not follow each other."""
    numbers = samples(pcm)
    steps = ((after - before) % 65_536 for before, after in itertools.pairwise(numbers))
    return [step - 1 for step in steps if step != 1]


def sine(seconds: float, rate_hz: int = RATE_HZ, amplitude: int = 10_000) -> "array.array[int]":
    """440 Hz, int16 mono."""
    turn = 2 * math.pi * 440 / rate_hz
    return array.array("h", (round(amplitude * math.sin(turn * n)) for n in range(round(seconds * rate_hz))))
