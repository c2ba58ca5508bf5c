"""A text, spelled in what a layout can type.

In this order: what is not visible is left out, whatever the layout has; then a character is typed as itself; then by
its number, if the user asked for that; then as others that look or mean the same; else it is dropped, and counted.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Literal

from flowpi.core.typing.strokes import ENTER, IDLE, KEYPAD_PLUS, SPACE, Modifiers, Stroke, Typed
from flowpi.core.typing.usages import KEYPAD_DIGITS

Table = Mapping[str, tuple[Stroke, ...]]
"""The strokes of each character that a layout has."""

Newline = Literal["space", "enter", "shift-enter"]

UnicodeInput = Literal["off", "linux", "windows", "mac"]

NEWLINES: dict[Newline, Stroke] = {
    "space": Stroke(SPACE),
    "enter": Stroke(ENTER),
    "shift-enter": Stroke(ENTER, Modifiers.SHIFT),
}

LINE_ENDS = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")

INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""What Python calls printable although nothing is seen of it: selectors of variants, joiners, fillers."""

REPLACEMENTS = {
    **dict.fromkeys("‘’‚‛′´ʼ‹›", "'"),  # noqa: RUF001
    **dict.fromkeys("“”„‟«»″", '"'),
    **dict.fromkeys("‐‑‒–−•", "-"),  # noqa: RUF001
    **dict.fromkeys("—―", "--"),
    **{"⁄": "/", "÷": "/", "×": "x", "°": " deg", "€": "EUR", "µ": "u", "μ": "u"},  # noqa: RUF001
    **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"},
    **{"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ħ": "h", "Ħ": "H", "ŋ": "ng", "Ŋ": "NG"},
    "ı": "i",  # noqa: RUF001
}
"""What is typed for characters that have no equivalent in Unicode with less to them. All of it is ASCII."""


def spell(text: str, table: Table, *, newline: Newline, unicode: UnicodeInput) -> Typed:
    """Return a text as strokes. `table`: what the layout has, at least all visible characters of ASCII."""
    strokes: list[Stroke] = []
    typed: list[str] = []
    ends: list[int] = []
    replaced = dropped = 0
    for char in unicodedata.normalize("NFC", LINE_ENDS.sub("\n", text)):
        if char == "\n":
            strokes.append(NEWLINES[newline])
        elif char == "\t" or unicodedata.category(char) == "Zs":
            strokes += table[" "]
        elif not _is_visible(char):
            dropped += 1
            continue
        elif char in table:
            strokes += table[char]
        elif unicode != "off":
            strokes += _by_number(char, table, unicode)
        elif other := replacement(char, table):
            strokes += (stroke for one in other for stroke in table[one])
            replaced += 1
        else:
            dropped += 1
            continue
        typed.append(char)
        ends.append(len(strokes))
    return Typed(tuple(strokes), "".join(typed), tuple(ends), replaced, dropped)


def replacement(char: str, table: Table) -> str:
    """Return characters of the layout that look or mean the same; empty if there are none."""
    if char in REPLACEMENTS:
        return REPLACEMENTS[char]
    parts = (part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    other = "".join(REPLACEMENTS.get(part, part) for part in parts)
    return other if all(part in table for part in other) else ""


def _is_visible(char: str) -> bool:
    """Return whether a character is seen and changes nothing around it: no control, no direction, no private use."""
    return char.isprintable() and not INVISIBLE.match(char)


def _by_number(char: str, table: Table, unicode: UnicodeInput) -> list[Stroke]:
    """Return the strokes for a character by its number in hexadecimal, as a system that is set up for it accepts it."""
    match unicode:
        case "linux":  # IBus and GTK: Ctrl+Shift+U, the number, space
            start = Stroke(table["u"][0].keycode, Modifiers.CTRL | Modifiers.SHIFT)
            return [start, *(stroke for digit in f"{ord(char):x}" for stroke in table[digit]), Stroke(SPACE)]
        case "windows":  # with EnableHexNumpad: Alt, which stays down, + and the number on the keypad
            keys = [KEYPAD_PLUS]
            for digit in f"{ord(char):x}":
                keys.append(KEYPAD_DIGITS[int(digit) - 1] if digit.isdecimal() else table[digit][0].keycode)
            return [*(Stroke(key, Modifiers.ALT) for key in keys), IDLE]
        case _:  # macOS, "Unicode Hex Input": Option, which stays down, and four digits for each unit of UTF-16
            digits = char.encode("utf-16-be").hex()
            return [*(Stroke(table[digit][0].keycode, Modifiers.ALT) for digit in digits), IDLE]
