"""One recording in progress: the log it goes to, when it is to stop, and the log it is to go on in."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from flowpi.dsp.pauses import Pauses


class Log(Protocol):
    """What a recording is written to: an `Utterance`."""

    def append(self, pcm: bytes) -> None: ...
    def append_gap(self, frames: int) -> None: ...
    def finish(self, now: float, *, partial: bool = False) -> None: ...


class Following(Struct):
    """What comes after the cut. `on_next` is called once `entry` has begun."""

    entry: Log
    on_next: Callable[[], None]
    at_latest: asyncio.TimerHandle


class Recorder:
    """Attributes:
    entry: what is being written to now.
    stop: set from the release on: the end of the post-roll.
    following: set from `go_on` to the cut.
    pausing: what was heard last ends in a pause.
    """

    def __init__(self, entry: Log) -> None:
        self.entry = entry
        self.stop: asyncio.TimerHandle | None = None
        self.following: Following | None = None
        self.pausing = False
        self._pauses = Pauses()

    def hear(self, pcm: bytes) -> None:
        self.entry.append(pcm)
        self.pausing = self._pauses.feed(pcm)

    def miss(self, frames: int) -> None:
        self.entry.append_gap(frames)
        self.pausing = False

    def go_on(self, now: float) -> None:
        """Cut: all that was heard so far is in `entry`, the next sample is the first of what follows."""
        if (following := self.following) is None:
            return
        self.stay()
        self.entry.finish(now)
        self.entry, self._pauses, self.pausing = following.entry, Pauses(), False
        following.on_next()

    def stay(self) -> None:
        """Nothing follows."""
        if self.following is not None:
            self.following.at_latest.cancel()
            self.following = None

    def finish(self, now: float, *, partial: bool) -> None:
        self.stay()
        if self.stop is not None:
            self.stop.cancel()
        self.entry.finish(now, partial=partial)
