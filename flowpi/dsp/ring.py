"""The pre-roll: the newest sound, kept in memory until a press asks for it."""

from collections import deque

from flowpi.dsp.format import FRAME_BYTES


class Ring:
    """Keeps the newest `frames` frames of what is pushed.

    Chunks are stored as they come and joined only in `newest`: while idle, a chunk costs one append.
    """

    def __init__(self, frames: int) -> None:
        self._capacity = frames * FRAME_BYTES
        self._chunks: deque[bytes] = deque()
        self._bytes = 0

    @property
    def frames(self) -> int:
        """The number of frames held now: up to one chunk more than `newest` gives."""
        return self._bytes // FRAME_BYTES

    def push(self, pcm: bytes) -> None:
        """Add int16 mono PCM, in any whole number of frames, and drop the oldest chunks no longer needed."""
        self._chunks.append(pcm)
        self._bytes += len(pcm)
        while self._chunks and self._bytes - len(self._chunks[0]) >= self._capacity:
            self._bytes -= len(self._chunks.popleft())

    def newest(self, frames: int) -> bytes:
        """Return the newest `frames` frames, oldest first, or all if there are fewer."""
        pcm = b"".join(self._chunks)
        return pcm[max(0, len(pcm) - min(self._capacity, frames * FRAME_BYTES)) :]

    def clear(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._bytes = 0
