"""Gestures of the user, recognised from the edges of a bouncing contact.

Debouncing is done here and not by the driver: the first edge counts at once, so that a press costs no delay. After it
the contact is expected to bounce for `debounce_s`, and its level is read when that time is over.

On a busy machine edges arrive late, some of a burst after it has settled. So each comes with the time at which it
happened, and what happened before the last reading of the contact is ignored.

Call `edge` for each change of the contact with its time, and `handle_deadline` once `next_deadline` has passed. Both
return the gestures in order. Times are seconds of any monotonic clock.
"""

import enum
from collections.abc import Callable

from msgspec import Struct


class GestureKind(enum.Enum):
    """The kinds, as published on `event/button`. One release follows each press; tap, hold and long qualify it."""

    PRESSED = "pressed"
    RELEASED = "released"
    TAP = "tap"
    HOLD = "hold"
    DOUBLE = "double"
    LONG = "long"


class Gesture(Struct, frozen=True):
    """A gesture.

    `at`: when the contact changed; for HOLD and LONG, when the press had lasted so long.
    `tap`: of RELEASED, whether it ends a press shorter than `hold_s`.
    `again`: of PRESSED, whether it follows a tap so soon that it completes a double tap if it is a tap too.
    """

    kind: GestureKind
    at: float
    tap: bool = False
    again: bool = False


class Gestures:
    """The state of one button."""

    def __init__(
        self, *, hold_s: float = 0.3, double_s: float = 0.4, long_s: float = 10.0, debounce_s: float = 0.015
    ) -> None:
        """
        Args:
            hold_s: the shortest press that is no tap.
            double_s: the longest time from the press of one tap to that of the next in a double tap; 0 for none.
            long_s: the length at which a press is LONG, once; 0 for never.
            debounce_s: how long the contact may bounce after an edge.
        """
        self._hold_s = hold_s
        self._double_s = double_s
        self._long_s = long_s
        self._debounce_s = debounce_s
        self._pressed = False
        self._contact = False
        """The last level of the contact; it differs from `_pressed` only while the contact bounces."""
        self._settled_at: float | None = None
        """The end of the time in which the contact may bounce; None after it."""
        self._looked_at = float("-inf")
        self._pressed_at = 0.0
        self._hold_at: float | None = None
        self._long_at: float | None = None
        self._tap_pressed_at: float | None = None
        """When the previous tap was pressed, if another one can still complete a double tap."""
        self._again = False
        """Whether the current press, or the last one, followed a tap soon enough for a double tap."""

    @property
    def is_pressed(self) -> bool:
        """Whether a press was reported, and not its release yet."""
        return self._pressed

    def edge(self, pressed: bool, at: float) -> list[Gesture]:
        """Handle an edge: the contact closed or opened at the time `at`. Returns the gestures up to then."""
        if at <= self._looked_at:
            return []
        gestures = self.handle_deadline(at)
        self._contact = pressed
        if self._settled_at is None:
            gestures += self._change(at)
        return gestures

    def next_deadline(self) -> float | None:
        """Return when to call `handle_deadline`, or None for never."""
        deadlines = [at for at in (self._settled_at, self._hold_at, self._long_at) if at is not None]
        return min(deadlines, default=None)

    def handle_deadline(self, now: float, look: Callable[[], bool | None] = lambda: None) -> list[Gesture]:
        """Return the gestures that the passing of time up to `now` completes.

        Args:
            look: returns the level of the contact now, or None if the driver knows only its edges.
        """
        gestures: list[Gesture] = []
        if self._settled_at is not None and now >= self._settled_at:
            settled_at, self._settled_at = self._settled_at, None
            if (contact := look()) is not None:
                self._contact, self._looked_at = contact, now
                settled_at = now
            gestures += self._change(settled_at)
        if self._hold_at is not None and now >= self._hold_at:
            gestures.append(Gesture(GestureKind.HOLD, self._hold_at))
            self._hold_at = None
        if self._long_at is not None and now >= self._long_at:
            gestures.append(Gesture(GestureKind.LONG, self._long_at))
            self._long_at = None
        return gestures

    def spoken_into(self) -> None:
        """Note that the current press is for speech: it will not be LONG, however long it lasts."""
        self._long_at = None

    def _change(self, at: float) -> list[Gesture]:
        """Accept the level of the contact, if it is new."""
        if self._contact == self._pressed:
            return []
        self._pressed = self._contact
        self._settled_at = at + self._debounce_s
        return self._press(at) if self._pressed else self._release(at)

    def _press(self, at: float) -> list[Gesture]:
        self._pressed_at = at
        self._hold_at = at + self._hold_s
        self._long_at = at + self._long_s if self._long_s else None
        self._again = self._tap_pressed_at is not None and at - self._tap_pressed_at <= self._double_s
        return [Gesture(GestureKind.PRESSED, at, again=self._again)]

    def _release(self, at: float) -> list[Gesture]:
        tap = self._hold_at is not None and at < self._hold_at
        self._hold_at = self._long_at = None
        double = tap and self._again
        self._tap_pressed_at = self._pressed_at if tap and not double else None
        gestures = [Gesture(GestureKind.RELEASED, at, tap)]
        if tap:
            gestures.append(Gesture(GestureKind.DOUBLE if double else GestureKind.TAP, at))
        return gestures
