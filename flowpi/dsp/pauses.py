"""Finds pauses in speech, where a recording can be cut without cutting a word. Pure.

A pause is found by its level alone, compared with the level of the whole recording: that accounts for the speaker, the
room and the gain.
"""

import audioop

from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES, RATE_HZ

PIECE_FRAMES = RATE_HZ // 10
"""How much is judged at once. In shorter pieces the closure of a consonant, up to 80 ms, looks like a pause."""

FAR_BELOW = 0.18
"""A pause is below this share of the recording's level (15 dB): room noise is quieter, quiet vowels are louder."""

HOP_BYTES = RATE_HZ // 50 * FRAME_BYTES
"""The resolution of `spoken`."""


class Pauses:
    """The pauses of one recording, which is fed from its first sample on."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces = 0
        self._power = 0.0

    def feed(self, pcm: bytes) -> bool:
        """Add the next int16 mono PCM, and return whether it ends in a pause. Complete silence is one too."""
        self._rest += pcm
        if len(self._rest) < PIECE_FRAMES * FRAME_BYTES:
            return False
        level, self._rest = audioop.rms(self._rest[-PIECE_FRAMES * FRAME_BYTES :], 2), b""
        self._pieces += 1
        self._power += level**2
        mean: float = (self._power / self._pieces) ** 0.5
        return level <= FAR_BELOW * mean


def spoken(pcm: bytes | bytearray) -> tuple[float, float]:
    """Return where speech begins and ends in a recording, in seconds. Digital silence gives its whole length.

    Args:
        pcm: int16 mono 16 kHz, with pauses at its ends or none.
    """
    quiet = FAR_BELOW * audioop.rms(pcm, 2)
    with memoryview(pcm) as view:
        hops = [at for at in range(0, len(pcm), HOP_BYTES) if audioop.rms(view[at : at + HOP_BYTES], 2) > quiet]
    if not hops:
        return 0.0, len(pcm) / BYTES_PER_S
    return hops[0] / BYTES_PER_S, min(hops[-1] + HOP_BYTES, len(pcm)) / BYTES_PER_S
