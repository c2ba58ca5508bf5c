"""Write `flowpi/data/layouts.json`, what each key gives in each keyboard layout: `python -m layouts.make`.

libxkbcommon says it: for each set of modifiers, hold them, and look what each key gives; and for each dead key, what it
composes with each key after it. A test makes the file again and compares; the same packages of Debian give the same.
"""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from flowpi.core.typing.names import VARIANTS
from flowpi.core.typing.strokes import KEYS, Modifiers
from layouts.xkb import COMPOSED, Composer, Keyboard, Keymap, Xkb

DATA = Path(__file__).parents[1] / "flowpi" / "data" / "layouts.json"

CODES = [41, *range(2, 14), *range(16, 28), *range(30, 41), 43, 86, *range(44, 54), 89, 124, 57]
"""The keys of the main block, row by row. Without the keypad, which depends on Num Lock."""

SHIFT, ALTGR, LEVEL3 = Modifiers.SHIFT, Modifiers.ALTGR, Modifiers.LEVEL3
HELD = (Modifiers.NONE, SHIFT, ALTGR, SHIFT | ALTGR)
WITH_LEVEL3 = (LEVEL3, SHIFT | LEVEL3, ALTGR | LEVEL3)
USE_LEVEL3 = {("de", "neo")}
"""The layouts in which Caps Lock chooses a character."""

Rows = dict[str, str]
Given = dict[str, set[int]]
"""The symbols of each character or dead key of all layouts."""


def document() -> str:
    xkb = Xkb()
    given: Given = {}
    layouts: dict[str, dict[str, Rows]] = {}
    for layout, variants in VARIANTS.items():
        for variant in variants:
            keymap = Keymap(xkb, layout, variant)
            held = HELD + (WITH_LEVEL3 if (layout, variant) in USE_LEVEL3 else ())
            plain, caps = (rows(keymap, held, caps_lock, given) for caps_lock in (False, True))
            caps = {name: row for name, row in caps.items() if row != plain.get(name)}
            layouts[f"{layout}({variant})" if variant else layout] = {"plain": plain, "caps": caps}
    found = {"keys": CODES, "compositions": compositions(xkb, given), "layouts": layouts}
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def rows(keymap: Keymap, sets: tuple[Modifiers, ...], caps_lock: bool, given: Given) -> Rows:
    """Return what each key gives, by the names of what is held."""
    found = {}
    for held in sets:
        keyboard = Keyboard(keymap, caps_lock=caps_lock)
        for modifier, code in KEYS.items():
            if modifier in held:
                keyboard.move(code, down=True)
        row = [what(keymap.xkb, keyboard, code, given) for code in CODES]
        while row and row[-1] == "none":
            row.pop()
        name = "+".join(str(modifier.name).lower() for modifier in Modifiers if modifier in held) or "none"
        found[name] = " ".join(row)
    return found


def what(xkb: Xkb, keyboard: Keyboard, code: int, given: Given) -> str:
    symbol = keyboard.symbol(code)
    name, text = xkb.name(symbol), keyboard.text(code)
    if not name.startswith("dead_") and not is_typed(text):
        return "none"
    found = name if name.startswith("dead_") else text
    given.setdefault(found, set()).add(symbol)
    return found


def is_typed(text: str) -> bool:
    """Return whether a text is a visible character that stays the same in the form in which texts are typed."""
    return len(text) == 1 and text.isprintable() and text != " " and unicodedata.normalize("NFC", text) == text


def compositions(xkb: Xkb, given: Given) -> dict[str, Rows]:
    """Return what each dead key makes with each key after it."""
    found: dict[str, Rows] = {}
    given = {**given, " ": {0x20}}
    for dead in sorted(name for name in given if name.startswith("dead_")):
        made = {second: text for second in sorted(given) for text in composed(xkb, given[dead], given[second])}
        if made:
            found[dead] = made
    return found


def composed(xkb: Xkb, firsts: set[int], seconds: set[int]) -> Iterator[str]:
    """Yield the character of a sequence, if all symbols that stand for its parts make the same."""
    texts = set()
    for first in firsts:
        for second in seconds:
            composer = Composer(xkb)
            composer.feed(first)
            texts.add(composer.text() if composer.feed(second) == COMPOSED else "")
    if len(texts) == 1 and is_typed(*texts):
        yield texts.pop()


if __name__ == "__main__":
    DATA.write_text(document(), encoding="utf-8")
