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
    following: set from `continue_in` to the cut.
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

    def continue_in(self, following: Following) -> None:
        """Continue in `following` from the next cut on, instead of in what was to follow before."""
        self.cancel_next()
        self.following = following

    def cut(self, now: float) -> None:
        """Finish `entry` with all that was heard so far, and begin what follows, if anything does."""
        if (following := self.following) is None:
            return
        self.cancel_next()
        self.entry.finish(now)
        self.entry, self._pauses, self.pausing = following.entry, Pauses(), False
        following.on_next()

    def cancel_next(self) -> None:
        """Record on in `entry`, with nothing that follows."""
        if self.following is not None:
            self.following.at_latest.cancel()
            self.following = None

    def finish(self, now: float, *, partial: bool) -> None:
        self.cancel_next()
        if self.stop is not None:
            self.stop.cancel()
        self.entry.finish(now, partial=partial)
