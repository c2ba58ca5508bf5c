"""A keyboard layout: which strokes type which character.

A layout has levels: for each set of held modifiers, what each key gives. That is a character, a dead key, or nothing. A
dead key types a character together with the key after it. Caps Lock changes the levels, so there are two sets of them.

The tables are those of Linux. Another system agrees with them on most of two levels, and on less of the others.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from flowpi.core.typing.spelling import Newline, Table, UnicodeInput, spell
from flowpi.core.typing.strokes import SPACE, Modifiers, Stroke, Typed

Host = Literal["linux", "other"]
"""Whose computer it is: one with the tables of Linux, or one that only agrees with them in what is usual."""

Levels = Mapping[Modifiers, Sequence[str]]
"""What each key gives, by what is held, the fewest modifiers first: a character, the name of a dead key such as
`dead_acute`, or `none`. The keys are in the order of `Layout.keys`; those at the end may be missing."""

Compositions = Mapping[str, Mapping[str, str]]
"""By dead key, and by the character or the dead key after it: the character that both type."""

PLAIN = (Modifiers.NONE, Modifiers.SHIFT)

SAME_ALTGR = {"pl": "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ"}
"""Letters that other systems have on AltGr where Linux has them, by layout. ASCII and € are so anywhere."""

LATIN_1 = 0x100
MARKS = {
    "dead_grave": ("\u0300", LATIN_1),
    "dead_acute": ("\u0301", LATIN_1),
    "dead_circumflex": ("\u0302", LATIN_1),
    "dead_tilde": ("\u0303", LATIN_1),
    "dead_diaeresis": ("\u0308", LATIN_1),
    "dead_abovering": ("\u030a", 0x180),
    "dead_doubleacute": ("\u030b", 0x180),
    "dead_caron": ("\u030c", 0x180),
    "dead_cedilla": ("\u0327", 0x180),
    "dead_ogonek": ("\u0328", 0x180),
}
"""The dead keys that other systems have, the combining mark of each, and the character below which they agree."""


class Layout:
    """The layout of a computer, as its owner chose it there. `variant` is empty for the usual one."""

    def __init__(
        self,
        name: str,
        variant: str,
        *,
        keys: Sequence[int],
        plain: Levels,
        caps: Levels,
        compositions: Compositions,
    ) -> None:
        """`keys`: the evdev codes of the keys; `caps`: the levels with Caps Lock on."""
        self.name = name
        self.variant = variant
        self._keys = keys
        self._levels = {False: plain, True: caps}
        self._compositions = compositions
        self._tables: dict[tuple[Host, bool], Table] = {}

    def __repr__(self) -> str:
        return f"Layout({self.name!r}, {self.variant!r})"

    def strokes(
        self,
        text: str,
        *,
        caps_lock: bool = False,
        newline: Newline = "space",
        unicode: UnicodeInput = "off",
        host: Host = "linux",
    ) -> Typed:
        """Return the strokes that type a text, or what of it the layout can type.

        Args:
            text: any text. Of what is in it, only what is visible and spaces are typed.
            caps_lock: whether Caps Lock is on, on the computer.
            newline: the key for the end of a line.
            unicode: by which system's way a character is typed that the layout does not have.
            host: whose computer it is.
        """
        return spell(text, self.table(host=host, caps_lock=caps_lock), newline=newline, unicode=unicode)

    def table(self, *, host: Host = "linux", caps_lock: bool = False) -> Table:
        """Return the strokes of each character that the layout has."""
        if (host, caps_lock) not in self._tables:
            self._tables[host, caps_lock] = self._make_table(host, caps_lock)
        return self._tables[host, caps_lock]

    def _make_table(self, host: Host, caps_lock: bool) -> Table:
        chars, dead_keys = {" ": Stroke(SPACE)}, dict[str, Stroke]()
        for modifiers, level in self._levels[caps_lock].items():  # the first of several strokes is the easiest
            for code, given in zip(self._keys, level, strict=False):
                if given.startswith("dead_"):
                    dead_keys.setdefault(given, Stroke(code, modifiers))
                elif given != "none" and (host == "linux" or self._is_anywhere(given, modifiers)):
                    chars.setdefault(given, Stroke(code, modifiers))
        table: dict[str, tuple[Stroke, ...]] = {char: (stroke,) for char, stroke in chars.items()}
        single = {**chars, **dead_keys}
        # Where Caps Lock is the key for the third level, AltGr is that for the fifth, and ends what a dead key began.
        ending = (
            Modifiers.ALTGR if any(Modifiers.LEVEL3 in held for held in self._levels[caps_lock]) else Modifiers.NONE
        )
        for dead, second, char in self._composed():
            if (
                dead in single
                and second in single
                and not single[second].modifiers & ending
                and (host == "linux" or _is_composed_anywhere(dead, single[dead], second, char))
            ):
                table.setdefault(char, (single[dead], single[second]))
        return table

    def _composed(self) -> Iterator[tuple[str, str, str]]:
        for dead, seconds in self._compositions.items():
            for second, char in seconds.items():
                yield dead, second, char

    def _is_anywhere(self, given: str, modifiers: Modifiers) -> bool:
        """Return whether other systems have this on the same key."""
        if modifiers in PLAIN:
            return True
        return given.isascii() or given == "€" or given in SAME_ALTGR.get(self.name, "")


def _is_composed_anywhere(dead: str, stroke: Stroke, second: str, char: str) -> bool:
    """Return whether other systems compose this character of a dead key, which is this stroke, and what follows it."""
    if second == " ":
        return char.isascii()
    if dead not in MARKS or stroke.modifiers not in PLAIN:
        return False
    mark, limit = MARKS[dead]
    return ord(char) < limit and unicodedata.normalize("NFD", char) == second + mark
