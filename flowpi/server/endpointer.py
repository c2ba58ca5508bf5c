"""The endpointer: finds the segments of speech in a stream of PCM while it arrives.

Theory of operation. Silero rates each window of 32 ms with a probability of speech. A segment opens once the windows
have been over `ON` for `MIN_SPEECH`, and starts `PAD` earlier; it closes when no window was over `OFF` for `HANG`, and
ends `PAD` after the last voice. Speech without a pause is cut at `MAX`, where the voice was faintest. Within an open
segment the latest dip, a stretch of at least `DIP` without voice, is remembered, so that a caller can decode ahead.

`append` only stores; `scan` rates all that is new in one call, which costs a tenth of recognising it.

The settings were measured with Moonshine tiny: other values of `HANG` and `MAX`, and a `PAD` of 0.3 to 0.4 s, changed
the word error rate by less than the corpus can resolve. Segments are decoded as they are: with 0.3 s of digital silence
behind each, tiny made 90 instead of 112 errors in 3214 words, and base 81 instead of 44, because it lost whole phrases.
"""

from collections import deque
from collections.abc import Callable, Iterable

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.silero import WINDOW

ON, OFF = 0.5, 0.35
MIN_SPEECH = RATE_HZ // 10
DIP = RATE_HZ // 5
HANG = RATE_HZ * 6 // 10
PAD = RATE_HZ * 3 // 10
MAX = RATE_HZ * 15
CUT_FROM = MAX * 6 // 10
"""The shortest segment, in samples, that a cut for length leaves."""

Rate = Callable[[bytes], Iterable[float]]
"""Returns the probability of speech of each window in whole windows of `WINDOW` samples, int16 mono 16 kHz. Stateful:
one per stream."""


class Endpointer:
    """Cuts one stream of int16 mono 16 kHz PCM into segments of speech. Positions count samples from the start."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._pcm = bytearray()
        self._base = 0  # position of the first sample in _pcm
        self._at = 0  # position of the first window that has not been looked at
        self._ratings = deque[float]()  # of the windows from there
        self._run = 0  # samples of voice in a row, while no segment is open
        self._start: int | None = None
        self.voice_start = 0
        """The position where the voice of the latest segment begins."""
        self.voice_end = 0
        """The position where the latest voice ends."""
        self._faintest = (1.0, 0)
        self.dip: int | None = None
        """The position where the latest dip of the open segment was noticed: `DIP` after the voice before it."""
        self.voiced_after_dip = 0
        """The samples of voice since that dip."""

    @property
    def speaking(self) -> bool:
        """Whether a segment is open."""
        return self._start is not None

    @property
    def start(self) -> int:
        """The position where the open segment begins."""
        assert self._start is not None
        return self._start

    @property
    def end(self) -> int:
        """The position where the audio ends."""
        return self._base + len(self._pcm) // FRAME_BYTES

    @property
    def oldest(self) -> int:
        """The position of the oldest audio that is still kept."""
        return self._base

    def append(self, pcm: bytes) -> None:
        self._pcm += pcm

    def pcm(self, start: int, end: int) -> bytes:
        """Return the audio from `start` to `end`; the segment that just closed is available until the next scan."""
        assert self._base <= start
        return bytes(self._pcm[(start - self._base) * FRAME_BYTES : (end - self._base) * FRAME_BYTES])

    def scan(self) -> tuple[int, int] | None:
        """Rate the audio and look at it until a segment closes or less than a window is left.

        Returns:
            The start and end of the segment that closed, or None. Read its `pcm` before the next call.
        """
        self._forget()
        rated = self._at + len(self._ratings) * WINDOW
        if whole := (self.end - rated) // WINDOW * WINDOW:
            self._ratings.extend(self._rate(self.pcm(rated, rated + whole)))
        while self._ratings:
            probability = self._ratings.popleft()
            self._at += WINDOW
            if self._start is None:
                self._wait_for_speech(probability)
            elif (segment := self._follow_speech(probability)) is not None:
                return segment
        return None

    def _wait_for_speech(self, probability: float) -> None:
        self._run = self._run + WINDOW if probability >= ON else 0
        if self._run >= MIN_SPEECH:
            self.voice_start, self.voice_end = self._at - self._run, self._at
            self._open(max(self._base, self._at - self._run - PAD))

    def _open(self, start: int) -> None:
        self._start = start
        self._faintest = (1.0, 0)
        self.dip = None
        self.voiced_after_dip = 0

    def _follow_speech(self, probability: float) -> tuple[int, int] | None:
        """Add one window to the open segment; return the segment if this window closes it."""
        if probability >= OFF:
            self.voice_end = self._at
            self.voiced_after_dip += WINDOW
        elif DIP <= self._at - self.voice_end < DIP + WINDOW:
            self.dip = self._at
            self.voiced_after_dip = 0
        length = self._at - self.start
        if length >= CUT_FROM and probability <= self._faintest[0]:
            self._faintest = (probability, self._at)
        if self._at - self.voice_end >= HANG:
            segment = self.start, self.voice_end + PAD
            self._start, self._run = None, 0
            return segment
        if length >= MAX:
            segment = self.start, self._faintest[1]
            self._open(segment[1])
            return segment
        return None

    def _forget(self) -> None:
        """Delete the audio that no segment can need any more."""
        keep = self._start if self._start is not None else self._at - self._run - PAD
        if (drop := keep - self._base) > 0:
            del self._pcm[: drop * FRAME_BYTES]
            self._base += drop
