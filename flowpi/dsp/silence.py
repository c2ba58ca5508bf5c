"""Digital silence: sound without even noise, as of a muted or broken microphone. Pure."""

import audioop

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

BLOCK = RATE_HZ * FRAME_BYTES


class Silence:
    """How long each sample of a stream has been the same as the one before.

    Attributes:
        frames: of the newest sound, to the accuracy of a piece: one that is not constant counts nothing of its end.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._sample: int | None = None

    def feed(self, pcm: bytes) -> None:
        """int16 mono PCM, the next piece of the stream. 30 us a second of sound."""
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
    """Whether all samples of int16 mono PCM are the same. Looks no further than to the first second that is not."""
    first = bytes(pcm[:FRAME_BYTES])
    sample = int.from_bytes(first, "little", signed=True)
    blocks = range(0, len(pcm), BLOCK)
    return all(audioop.minmax(pcm[start : start + BLOCK], 2) == (sample, sample) for start in blocks)
