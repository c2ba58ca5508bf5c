"""From the edges of a bouncing contact to what the finger meant.

Debouncing is done here and not by the driver: the first edge counts at once, so a press costs no delay, and the
contact is then believed to bounce for `debounce_s`. What it settled on is looked at when that time is over.

Feed `edge` with each change of the contact and its time; call `handle_deadline` once `next_deadline` is over. Both
return the gestures in order. Times are seconds of any monotonic clock.
"""

import enum

from msgspec import Struct

DOUBLE_TAP_S = 0.4
"""Longest time from the press of the first tap to the press of the second: the usual double click."""


class Kind(enum.Enum):
    """As published on `event/button`. A press is always followed by one release; tap and hold qualify it."""

    PRESSED = "pressed"
    RELEASED = "released"
    TAP = "tap"
    HOLD = "hold"
    DOUBLE = "double"


class Gesture(Struct, frozen=True):
    """`at`: when the contact changed, or for HOLD when the press had lasted `hold_s`.

    A RELEASED comes with `tap`: whether it ends a press shorter than `hold_s`.
    """

    kind: Kind
    at: float
    tap: bool = False


class Gestures:
    def __init__(self, *, hold_s: float = 0.3, debounce_s: float = 0.015) -> None:
        self._hold_s = hold_s
        self._debounce_s = debounce_s
        self._pressed = False
        self._contact = False
        """What the contact said last; differs from `_pressed` only while it bounces."""
        self._settled_at: float | None = None
        """While the contact is believed to bounce: until when."""
        self._pressed_at = 0.0
        self._hold_at: float | None = None
        self._tap_pressed_at: float | None = None
        """When the tap before was pressed, if another press can still make it a double tap."""

    def edge(self, pressed: bool, at: float) -> list[Gesture]:
        """The contact closed or opened."""
        gestures = self.handle_deadline(at)
        self._contact = pressed
        if self._settled_at is None:
            gestures += self._change(at)
        return gestures

    def next_deadline(self) -> float | None:
        """When `handle_deadline` has something to do; None for never."""
        deadlines = [at for at in (self._settled_at, self._hold_at) if at is not None]
        return min(deadlines, default=None)

    def handle_deadline(self, now: float) -> list[Gesture]:
        """What has come about by the mere passing of time up to `now`."""
        gestures: list[Gesture] = []
        if self._settled_at is not None and now >= self._settled_at:
            settled_at, self._settled_at = self._settled_at, None
            gestures += self._change(settled_at)
        if self._hold_at is not None and now >= self._hold_at:
            gestures.append(Gesture(Kind.HOLD, self._hold_at))
            self._hold_at = None
        return gestures

    def _change(self, at: float) -> list[Gesture]:
        """Take over what the contact says, if that is new."""
        if self._contact == self._pressed:
            return []
        self._pressed = self._contact
        self._settled_at = at + self._debounce_s
        return self._press(at) if self._pressed else self._release(at)

    def _press(self, at: float) -> list[Gesture]:
        self._pressed_at = at
        self._hold_at = at + self._hold_s
        if self._tap_pressed_at is not None and at - self._tap_pressed_at <= DOUBLE_TAP_S:
            self._tap_pressed_at = None
            self._hold_at = None  # the second press of a double tap is over with it, however long it lasts
            return [Gesture(Kind.PRESSED, at), Gesture(Kind.DOUBLE, at)]
        return [Gesture(Kind.PRESSED, at)]

    def _release(self, at: float) -> list[Gesture]:
        tap = self._hold_at is not None and at < self._hold_at
        self._hold_at = None
        self._tap_pressed_at = self._pressed_at if tap else None
        released = Gesture(Kind.RELEASED, at, tap)
        return [released, Gesture(Kind.TAP, at)] if tap else [released]
