"""A computer with a keyboard layout: what a program on it makes of the keys that go down and up."""

from collections.abc import Iterable
from functools import cache
from itertools import chain

from flowpi.core.typing.strokes import IDLE, Stroke, moments
from layouts.xkb import CANCELLED, COMPOSED, COMPOSING, Composer, Keyboard, Keymap, Xkb


@cache
def xkb() -> Xkb:
    return Xkb()


@cache
def keymap(layout: str, variant: str) -> Keymap:
    return Keymap(xkb(), layout, variant)


class Computer:
    """`text` is what has been typed; `cancelled` counts dead keys with which the key after them composes nothing."""

    def __init__(self, layout: str, variant: str = "", *, caps_lock: bool = False) -> None:
        self.text = ""
        self.cancelled = 0
        self.down: frozenset[int] = frozenset()
        self._keyboard = Keyboard(keymap(layout, variant), caps_lock=caps_lock)
        self._composer = Composer(xkb())

    def type(self, strokes: Iterable[Stroke]) -> str:
        """Type strokes as a keyboard does, and return all of the text."""
        for moment in chain.from_iterable(moments(list(strokes))):
            self.hold(moment)
        assert self.down == IDLE.down()
        return self.text

    def hold(self, moment: Stroke) -> None:
        """Release what is no longer down, and press what is newly down, modifiers first."""
        down = moment.down()
        for code in sorted(self.down - down):
            self.move(code, down=False)
        for code in sorted(down - self.down, key=lambda code: code == moment.keycode):
            self.move(code, down=True)
        self.down = down

    def move(self, code: int, *, down: bool) -> None:
        """Press or release a key, by its evdev code."""
        if down:
            self._press(code)
        self._keyboard.move(code, down=down)

    def _press(self, code: int) -> None:
        symbol = self._keyboard.symbol(code)
        status = self._composer.feed(symbol) if symbol else COMPOSING
        if status == COMPOSED:
            self.text += self._composer.text()
        elif status == CANCELLED:
            self.cancelled += 1
        elif status != COMPOSING:
            self.text += self._keyboard.text(code).replace("\r", "\n")
