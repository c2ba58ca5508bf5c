"""From the edges of a bouncing contact to what the finger meant.

Debouncing is done here and not by the driver: the first edge counts at once, so a press costs no delay, and the
contact is then believed to bounce for `debounce_s`. What it settled on is looked at when that time is over.

On a busy machine edges are told late, some of a burst after it has settled. So each comes with the time at which it
happened, and once the contact has been looked at, what happened before that is old news.

Feed `edge` with each change of the contact and its time; call `handle_deadline` once `next_deadline` is over. Both
return the gestures in order. Times are seconds of any monotonic clock.
"""

import enum
from collections.abc import Callable

from msgspec import Struct


class GestureKind(enum.Enum):
    """As published on `event/button`. A press is always followed by one release; tap, hold and long qualify it."""

    PRESSED = "pressed"
    RELEASED = "released"
    TAP = "tap"
    HOLD = "hold"
    DOUBLE = "double"
    LONG = "long"


class Gesture(Struct, frozen=True):
    """`at`: when the contact changed, or for HOLD and LONG when the press had lasted so long.

    A RELEASED comes with `tap`: whether it ends a press shorter than `hold_s`. A PRESSED comes with `again`: whether it
    follows a tap so soon that it makes a double tap if it is a tap too.
    """

    kind: GestureKind
    at: float
    tap: bool = False
    again: bool = False


class Gestures:
    def __init__(
        self, *, hold_s: float = 0.3, double_s: float = 0.4, long_s: float = 10.0, debounce_s: float = 0.015
    ) -> None:
        """
        Args:
            hold_s: a shorter press is a tap.
            double_s: the longest time from the press of a tap to that of the next, for a double tap; 0: there is none.
            long_s: a press that lasts so long is LONG, once; 0: none is.
        """
        self._hold_s = hold_s
        self._double_s = double_s
        self._long_s = long_s
        self._debounce_s = debounce_s
        self._pressed = False
        self._contact = False
        """What the contact said last; differs from `_pressed` only while it bounces."""
        self._settled_at: float | None = None
        """While the contact is believed to bounce: until when."""
        self._looked_at = float("-inf")
        self._pressed_at = 0.0
        self._hold_at: float | None = None
        self._long_at: float | None = None
        self._tap_pressed_at: float | None = None
        """When the tap before was pressed, if another press can still make it a double tap."""
        self._again = False
        """Of the press that goes on, or of the last one."""

    def edge(self, pressed: bool, at: float) -> list[Gesture]:
        """The contact closed or opened."""
        if at <= self._looked_at:
            return []
        gestures = self.handle_deadline(at)
        self._contact = pressed
        if self._settled_at is None:
            gestures += self._change(at)
        return gestures

    def next_deadline(self) -> float | None:
        """When `handle_deadline` has something to do; None for never."""
        deadlines = [at for at in (self._settled_at, self._hold_at, self._long_at) if at is not None]
        return min(deadlines, default=None)

    def handle_deadline(self, now: float, look: Callable[[], bool | None] = lambda: None) -> list[Gesture]:
        """What has come about by the mere passing of time up to `now`.

        `look`: what the contact says now; None where nobody can tell but by its edges.
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
        """The press that goes on is not LONG, however long it lasts."""
        self._long_at = None

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
