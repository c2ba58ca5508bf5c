"""Pauses in speech, where a recording can be cut without cutting a word. Pure.

By level alone: how loud the person, the room and the gain are is taken from the recording itself.
"""

import audioop

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

PIECE_FRAMES = RATE_HZ // 10
"""Judged at once. Shorter ones take the closure of a consonant, up to 80 ms, for a pause."""

FAR_BELOW = 0.18
"""Of the recording's own level, 15 dB: between what noise in a room is below speech and what a quiet vowel is."""


class Pauses:
    """Of one recording from its first sample on."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces = 0
        self._power = 0.0

    def feed(self, pcm: bytes) -> bool:
        """Whether int16 mono PCM, the next piece of the recording, ends in a pause. No sound at all is one too."""
        self._rest += pcm
        if len(self._rest) < PIECE_FRAMES * FRAME_BYTES:
            return False
        level, self._rest = audioop.rms(self._rest[-PIECE_FRAMES * FRAME_BYTES :], 2), b""
        self._pieces += 1
        self._power += level**2
        mean: float = (self._power / self._pieces) ** 0.5
        return level <= FAR_BELOW * mean
