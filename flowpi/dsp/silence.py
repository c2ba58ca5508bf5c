"""Detects digital silence: sound without even noise, as from a muted or broken microphone. Pure."""

import audioop

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

BLOCK = RATE_HZ * FRAME_BYTES


class Silence:
    """Measures for how long all samples of a stream have been the same.

    Attributes:
        frames: how many of the newest frames are the same, in whole pieces: a piece that is not constant counts as 0.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._sample: int | None = None

    def feed(self, pcm: bytes) -> None:
        """Add the next piece of the stream, int16 mono PCM. It costs 30 us for each second of sound."""
        if not pcm:
            return
        low, high = audioop.minmax(pcm, 2)
        if low != high:
            self.frames, self._sample = 0, None
            return
        if low != self._sample:
            self.frames, self._sample = 0, low
        self.frames += len(pcm) // FRAME_BYTES


def is_constant(pcm: memoryview) -> bool:
    """Return whether all samples of int16 mono PCM are the same. It stops at the first second that differs."""
    first = bytes(pcm[:FRAME_BYTES])
    sample = int.from_bytes(first, "little", signed=True)
    blocks = range(0, len(pcm), BLOCK)
    return all(audioop.minmax(pcm[start : start + BLOCK], 2) == (sample, sample) for start in blocks)
