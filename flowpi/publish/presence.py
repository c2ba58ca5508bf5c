"""Whether a process that reports to the daemon is there, and whether texts wait for one that is not.

It is there as long as a report of it waits for the answer. After that it is expected back; so it is after the start of
the daemon, and when a text comes for one that is away, which may be about to start.
"""

import asyncio
import enum
from collections.abc import Awaitable, Callable

ABSENCE_S = 60.0
"""How long a process may not be there before it is away. After a start of the daemon it looks for it every 30 s."""


class Presence(enum.Enum):
    """Where a process is, as far as that is known."""

    THERE = "there"
    EXPECTED = "expected"
    """It was there a moment ago, or it may be about to come."""
    AWAY = "away"
    """It has not been there for so long that texts should not wait for it."""
    MISSED = "missed"
    """It is away while texts wait for it: a fault."""


class PresenceWatch:
    """Watches one process. Made on the event loop, where all methods are called.

    Attributes:
        now: where the process is.
    """

    def __init__(self, texts_wait: Callable[[], Awaitable[bool]], changed: Callable[[], object]) -> None:
        """
        Args:
            texts_wait: finds out whether texts wait for the process.
            changed: called when it is heard of, and when it has not come.
        """
        self.now = Presence.EXPECTED
        self._texts_wait = texts_wait
        self._changed = changed
        self._alarm: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_away(self) -> bool:
        return self.now in (Presence.AWAY, Presence.MISSED)

    def close(self) -> None:
        """Expect it no more."""
        self._closed = True
        self._stop_waiting()

    def arrived(self) -> None:
        """Note that it is there from now on, until `left`."""
        self._stop_waiting()
        self.now = Presence.THERE
        self._changed()

    def left(self) -> None:
        """Note that it is not there any more. It may come back at once."""
        self.now = Presence.EXPECTED
        self.expect()

    def heard(self) -> None:
        """Note that it has just been heard of."""
        if self.now is not Presence.THERE:
            self._stop_waiting()
            self.now = Presence.EXPECTED
            self.expect()
        self._changed()

    def expect(self) -> None:
        """Expect it within `ABSENCE_S`, unless it is there, or is expected already."""
        if self.now is not Presence.THERE and self._alarm is None and not self._closed:
            self._alarm = asyncio.get_running_loop().call_later(ABSENCE_S, self._did_not_come)

    def _did_not_come(self) -> None:
        self._alarm = None
        self._looking = asyncio.create_task(self._look(), name="presence")

    async def _look(self) -> None:
        self.now = Presence.MISSED if await self._texts_wait() else Presence.AWAY
        self._changed()

    def _stop_waiting(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
