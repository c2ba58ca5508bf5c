"""Where a stream of audio stands in real time, told only from how much of it was read and when. Pure.

Theory of operation: a device that has captured P frames at R Hz, seen by a read that left nothing behind, began
between now - (P + period) / R and now - P / R, because it moves in whole periods. Each read bounds the beginning like
that; the estimate moves only as far as the bounds push it. So it stands still while the device keeps time, follows a
crystal that is some ppm off, and never errs by more than a period. An overrun does not begin a new stream: the frames
that were lost count as passed, so that errors of several gaps do not add up.
"""


class StreamClock:
    """The clock of one open device.

    Attributes:
        frames: passed since the beginning, read or lost, at the device's rate.
    """

    def __init__(self, began: float, rate_hz: int, period_s: float) -> None:
        """`began`: `time.monotonic()` of frame 0."""
        self.frames = 0
        self._began = began
        self._opened = began
        self._rate_hz = rate_hz
        self._period_s = period_s

    def drained(self, now: float) -> None:
        """All that was complete at `now` has been read and counted into `frames`."""
        latest = now - self.frames / self._rate_hz
        self._began = min(max(self._began, latest - self._period_s), latest)

    def lost(self, now: float) -> int:
        """The device stood still and starts again at `now`: how many frames nobody read. They count as passed."""
        # Rounded down: a frame that has not passed yet would push the beginning back, a little at each gap.
        frames = max(0, int((now - self._began) * self._rate_hz) - self.frames)
        self.frames += frames
        return frames

    def ahead_s(self, now: float) -> float:
        """How much more was read than real time has passed since the beginning. Above 0 it is not a live device."""
        return self.frames / self._rate_hz - (now - self._opened)

    def next_edge(self, after: float) -> float:
        """When the first period after what was read is complete that is complete not before `after`."""
        edge = self._began + self.frames / self._rate_hz + self._period_s
        missing = max(0.0, after - edge)
        periods = -(-missing // self._period_s)  # rounded up
        return edge + periods * self._period_s
