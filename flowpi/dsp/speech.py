"""Judges whether somebody spoke in a recording, and whether loudly enough to be understood. Pure.

Speech and noise are told apart by their levels alone, tenth by tenth of a second: speech has pauses.
"""

import math
from collections.abc import Iterable, Iterator

from flowpi.dsp.level import SILENCE_DBFS, rms
from flowpi.dsp.pauses import PIECE_FRAMES

PIECE_BYTES = 2 * PIECE_FRAMES

QUIET_DBFS = -55.0
"""Speech below this is too quiet. Measured with Moonshine and two readers, turned down in steps of 5 dB: the first
words are lost between -55 and -64 dBFS, none above."""

SPOKEN_DB = 10.0
"""Somebody spoke if the loud tenths are so far above the soft ones: speech has 16 to 26, steady noise less than 6."""

LEAST_PIECES = 10


class SpeechLevel:
    """The level of the speech in one recording, in constant memory."""

    def __init__(self) -> None:
        self._rest = b""
        self._counts = [0] * 97  # of tenths of a second, by -dBFS

    def feed(self, pcm: bytes) -> None:
        """Add the next int16 mono 16 kHz PCM. Digital silence does not count."""
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % PIECE_BYTES
        for at in range(0, whole, PIECE_BYTES):
            piece = pcm[at : at + PIECE_BYTES]
            if level := rms(piece):
                self._counts[round(-20 * math.log10(level))] += 1
            # Digital silence stands for sound that was not heard, such as a tone of our own: it is no soft noise.
            elif piece.strip(b"\0"):
                self._counts[-1] += 1
        self._rest = pcm[whole:]

    def measured(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Feed each block, and pass it on."""
        for block in blocks:
            self.feed(block)
            yield block

    @property
    def speech_dbfs(self) -> float:
        """The RMS that the loudest tenth of the recording exceeds; -96 before anything was heard."""
        return self._at(0.1)

    @property
    def is_too_quiet(self) -> bool | None:
        """Whether words are lost because the speech is too quiet; None if nobody spoke, or for less than a second."""
        if sum(self._counts) < LEAST_PIECES or self._at(0.1) - self._at(0.9) < SPOKEN_DB:
            return None
        return self._at(0.1) < QUIET_DBFS

    def _at(self, share: float) -> float:
        """Return the level that this share of the recording reaches."""
        left = share * sum(self._counts)
        for below, count in enumerate(self._counts):
            left -= count
            if left < 0:
                return -float(below)
        return SILENCE_DBFS
