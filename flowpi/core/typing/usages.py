"""The USB side of a keyboard: its report descriptor, its reports, and the LEDs that the computer sets.

Source: Device Class Definition for HID 1.11, appendix B.1 (boot keyboard), and HID Usage Tables 1.12, page 7.
"""

from flowpi.core.typing.strokes import CAPS_LOCK, KEYPAD_PLUS, Modifiers, Stroke

DESCRIPTOR = bytes.fromhex(
    "05 01  09 06  a1 01"  # generic desktop, keyboard, application
    "05 07  19 e0  29 e7  15 00  25 01  75 01  95 08  81 02"  # eight modifiers, a bit each
    "95 01  75 08  81 01"  # a byte that is reserved
    "95 05  75 01  05 08  19 01  29 05  91 02"  # five LEDs, from the computer
    "95 03  75 01  91 01"  # and what fills their byte
    "95 06  75 08  15 00  26 dd 00  05 07  19 00  29 dd  81 00"  # six keys
    "c0"
)
"""The report descriptor. Its highest usage is 0xDD. With the usual 0x65, the keys that only ISO, Brazilian and Japanese
keyboards have (0x64, 0x87, 0x89) type nothing. It has no report id, so firmware understands it."""

REPORT_BYTES = 8
"""The modifiers, a zero, and the usages of six keys."""

LED_CAPS_LOCK = 0x02
"""The bit of the byte that the computer sends when an LED changes."""

LETTERS = (30, 48, 46, 32, 18, 33, 34, 35, 23, 36, 37, 38, 50, 49, 24, 25, 16, 19, 31, 20, 22, 47, 17, 45, 21, 44)
KEYPAD_DIGITS = (79, 80, 81, 75, 76, 77, 71, 72, 73, 82)  # 1 to 9, 0

USAGES = {
    **{code: 0x04 + index for index, code in enumerate(LETTERS)},
    **{code: 0x1E + index for index, code in enumerate(range(2, 12))},  # 1 to 9, 0
    **{28: 0x28, 57: 0x2C, 12: 0x2D, 13: 0x2E, 26: 0x2F, 27: 0x30, 43: 0x31},
    **{39: 0x33, 40: 0x34, 41: 0x35, 51: 0x36, 52: 0x37, 53: 0x38, CAPS_LOCK: 0x39},
    **{86: 0x64, 89: 0x87, 124: 0x89},  # between left Shift and Z; Ro; Yen
    **{KEYPAD_PLUS: 0x57, **{code: 0x59 + index for index, code in enumerate(KEYPAD_DIGITS)}},
}
"""The usage of each evdev code that a stroke may have."""


def report(stroke: Stroke) -> bytes:
    """Return the report that says what is down."""
    keys = [USAGES[CAPS_LOCK]] if Modifiers.LEVEL3 in stroke.modifiers else []
    if stroke.keycode:
        keys.append(USAGES[stroke.keycode])
    return bytes([stroke.modifiers & 0xFF, 0, *keys]).ljust(REPORT_BYTES, b"\0")
