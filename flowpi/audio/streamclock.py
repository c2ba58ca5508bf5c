"""Estimates where a stream of audio stands in real time, only from how much was read and when. Pure.

Theory of operation: if a read that left nothing behind shows that a device has captured P frames at R Hz, the device
began between now - (P + period) / R and now - P / R, because it moves whole periods. "Now" is not one moment on a busy
machine: the first bound holds for the begin of the read, the second for its end. Each read bounds the beginning in this
way, and the estimate moves only as far as the bounds push it. So it stands still while the device keeps time, follows a
crystal that is some ppm off, and never errs by more than a period. An overrun does not begin a new stream: the lost
frames count as passed, so the errors of several gaps do not add up.
"""


class StreamClock:
    """The clock of one open device.

    Attributes:
        frames: the frames passed since the beginning, read or lost, at the device's rate.
    """

    def __init__(self, began: float, rate_hz: int, period_s: float) -> None:
        """`began`: the `time.monotonic()` of frame 0."""
        self.frames = 0
        self._began = began
        self._opened = began
        self._rate_hz = rate_hz
        self._period_s = period_s

    def drained(self, began: float, ended: float) -> None:
        """Adjust the estimate: a read between these two moments left nothing behind, and is counted in `frames`."""
        read_s = self.frames / self._rate_hz
        self._began = min(max(self._began, began - read_s - self._period_s), ended - read_s)

    def lost(self, now: float) -> int:
        """Return how many frames were lost by a device that stopped and starts again at `now`. They count as passed."""
        # Rounded down: a frame that has not passed yet would push the beginning back, a little at each gap.
        frames = max(0, int((now - self._began) * self._rate_hz) - self.frames)
        self.frames += frames
        return frames

    def ahead_s(self, now: float) -> float:
        """Return how much more sound was read than time has passed since opening. A live device never gets ahead."""
        return self.frames / self._rate_hz - (now - self._opened)

    def next_edge(self, after: float) -> float:
        """Return when the next unread period is complete that is not complete before `after`."""
        edge = self._began + self.frames / self._rate_hz + self._period_s
        missing = max(0.0, after - edge)
        periods = -(-missing // self._period_s)  # rounded up
        return edge + periods * self._period_s
