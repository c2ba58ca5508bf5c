"""Dims an LED on a line that is only high or low, from the event loop: on and off a hundred times a second.

The loop's timers are exact to a millisecond, and late on a busy machine. So the rhythm is kept by the clock, and the
shorter part of each period makes up for what the ones before it were too long or too short: the mean brightness is
right, and the eye sees only that. A part of less than a millisecond is waited for in place.
"""

import asyncio
import math
import time
from collections.abc import Callable

PERIOD_S = 0.01
"""Too short for the eye to see."""

IN_PLACE_S = 0.001
"""The longest part that is waited for in place. The loop would make it longer, and a shorter one twice as long."""

MADE_UP_FOR = 5
"""The number of periods in which a part that was too long is made up for. More would look like a pattern."""


class Dimmer:
    """The brightness of one LED. It has a timer only while the LED is neither dark nor fully lit."""

    def __init__(self, switch: Callable[[bool], None], wait: Callable[[float], None] = time.sleep) -> None:
        """
        Args:
            switch: makes the LED light or dark; may raise any exception, which ends the dimming.
            wait: blocks for less than a millisecond.
        """
        self._switch = switch
        self._wait = wait
        self._timer: asyncio.TimerHandle | None = None
        self._is_lit_briefly = True
        self._part_s = self._owed_s = 0.0
        self.level = 0.0
        """The brightness, from 0 to 1."""

    def set(self, level: float) -> None:
        """Show a brightness from 0 to 1. One between needs a running loop."""
        self.stop()
        self.level = level
        if level in (0.0, 1.0):
            self._switch(level == 1.0)
            return
        self._is_lit_briefly = level <= 0.5
        self._part_s = min(level, 1.0 - level) * PERIOD_S
        self._owed_s = 0.0
        self._begin()

    def stop(self) -> None:
        """Leave the LED as it is, lit or dark."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        """Begin the shorter part of a period, unless those before it were so long that it is left out."""
        loop = asyncio.get_running_loop()
        began, length_s = loop.time(), self._part_s + self._owed_s
        if length_s <= 0.0:
            self._rest(length_s)
            return
        self._switch(self._is_lit_briefly)
        if length_s > IN_PLACE_S:
            self._timer = loop.call_at(began + length_s, self._end, began, length_s)
        else:
            self._wait(length_s)
            self._end(began, length_s)

    def _end(self, began: float, length_s: float) -> None:
        self._switch(not self._is_lit_briefly)
        self._rest(length_s - (asyncio.get_running_loop().time() - began))

    def _rest(self, owed_s: float) -> None:
        """Wait for the next period. `owed_s`: what this one's shorter part lacks; negative if it was too long."""
        loop = asyncio.get_running_loop()
        self._owed_s = max(owed_s, -MADE_UP_FOR * self._part_s)
        # The periods are the same for all LEDs: the parts of a colour share their wake-ups. A loop may be early,
        # by the resolution of its clock, and must not begin the same period again.
        number = math.floor(loop.time() / PERIOD_S + 0.001)
        self._timer = loop.call_at((number + 1) * PERIOD_S, self._begin)
