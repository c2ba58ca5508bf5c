"""One recording in progress: the log it is written to, when it stops, and the log it continues in."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from flowpi.dsp.format import BYTES_PER_S
from flowpi.dsp.pauses import Pauses
from flowpi.dsp.speech import SpeechLevel


class Log(Protocol):
    """The log that a recording is written to: an `Utterance`."""

    def wanted(self) -> list[int]: ...
    def append(self, pcm: bytes) -> None: ...
    def append_gap(self, frames: int) -> None: ...
    def finish(self, now: float, *, partial: bool = False) -> None: ...


class Following(Struct):
    """The log that follows after the cut. `on_next` is called once it has begun; `at_latest` cuts without a pause."""

    entry: Log
    on_next: Callable[[], None]
    at_latest: asyncio.TimerHandle


class Recorder:
    """A recording, and what is planned for it.

    Attributes:
        entry: the log that is being written to.
        stop: the timer for the end of the post-roll; set from the release on.
        following: the next log; set from `continue_in` until the cut.
        pausing: whether the newest sound ends in a pause.
        level: the level of the speech, in all logs of the recording.
    """

    def __init__(self, entry: Log) -> None:
        self.entry = entry
        self.stop: asyncio.TimerHandle | None = None
        self.following: Following | None = None
        self.pausing = False
        self.level = SpeechLevel()
        self._pauses = Pauses()

    def wanted_s(self) -> list[float]:
        """Return how much more sound each reader of the log waits for, and 0 for a plan that needs the next pause."""
        planned = [] if self.following is None else [0.0]
        return planned + [wanted / BYTES_PER_S for wanted in self.entry.wanted()]

    def hear(self, pcm: bytes) -> None:
        self.entry.append(pcm)
        self.level.feed(pcm)
        self.pausing = self._pauses.feed(pcm)

    def miss(self, frames: int) -> None:
        self.entry.append_gap(frames)
        self.pausing = False

    def continue_in(self, following: Following) -> None:
        """Plan to continue in `following` after the next cut, instead of what was planned before."""
        self.cancel_next()
        self.following = following

    def cut(self, now: float) -> None:
        """Finish `entry` with everything heard so far and begin the next log, if one is planned."""
        if (following := self.following) is None:
            return
        self.cancel_next()
        self.entry.finish(now)
        self.entry, self._pauses, self.pausing = following.entry, Pauses(), False
        following.on_next()

    def cancel_next(self) -> None:
        """Stay in `entry`: discard the plan to continue in another log."""
        if self.following is not None:
            self.following.at_latest.cancel()
            self.following = None

    def finish(self, now: float, *, partial: bool) -> None:
        self.cancel_next()
        if self.stop is not None:
            self.stop.cancel()
        self.entry.finish(now, partial=partial)
