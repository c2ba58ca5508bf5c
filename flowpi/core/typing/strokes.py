"""Key strokes, and the moments at which the keys of a keyboard change while they are typed.

A stroke is a key of the main block, by its evdev code, with the modifiers that are held meanwhile. Which character a
stroke types depends on the layout of the computer: see `layout.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise

ENTER, SPACE, CAPS_LOCK, KEYPAD_PLUS = 28, 57, 58, 78


class Modifiers(IntFlag):
    """What may be held with a key. The value of each but LEVEL3 is its bit in a report of a USB keyboard."""

    NONE = 0
    CTRL = 0x01
    SHIFT = 0x02
    ALT = 0x04
    ALTGR = 0x40
    LEVEL3 = 0x100
    """The key Caps Lock, in layouts that use it to choose a character: neo."""


KEYS = {
    Modifiers.CTRL: 29,
    Modifiers.SHIFT: 42,
    Modifiers.ALT: 56,
    Modifiers.ALTGR: 100,
    Modifiers.LEVEL3: CAPS_LOCK,
}
"""The evdev code of the key of each modifier: the left one of two."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key and what is held with it. `keycode` 0 is no key: then only what is held changes."""

    keycode: int
    modifiers: Modifiers = Modifiers.NONE

    def down(self) -> frozenset[int]:
        """Return the evdev codes of all keys that are down."""
        held = {code for modifier, code in KEYS.items() if modifier in self.modifiers}
        return frozenset(held | {self.keycode} if self.keycode else held)


IDLE = Stroke(0)
"""No key is down."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A text as strokes.

    `strokes`: in their order.
    `text`: the characters of the text that are typed, as themselves or as others; all but those that are dropped.
    `ends`: for each of these, the number of strokes after which it is complete.
    `replaced`: how many characters are typed as others that the layout has.
    `dropped`: how many characters of the text are not typed at all.
    """

    strokes: tuple[Stroke, ...]
    text: str
    ends: tuple[int, ...]
    replaced: int
    dropped: int

    def characters(self) -> list[tuple[Stroke, ...]]:
        """Return the strokes of each character of `text`."""
        return [self.strokes[begin:end] for begin, end in pairwise([0, *self.ends])]


def moments(strokes: Sequence[Stroke]) -> Iterator[tuple[Stroke, ...]]:
    """Yield for each stroke what is down at one moment after the other, each to be held for the time of the pace.

    First the modifiers if they change, then the key with them, then the modifiers alone. Equal modifiers of neighbours
    stay down; after the last stroke nothing is down.
    """
    held = Modifiers.NONE
    for stroke, following in pairwise([*strokes, None]):
        assert stroke is not None
        resting = Stroke(0, stroke.modifiers)
        parts = [resting] if stroke.modifiers != held else []
        if stroke.keycode:
            parts += [stroke, resting]
        held = stroke.modifiers
        if following is None and held:
            parts.append(IDLE)
        yield tuple(parts)
