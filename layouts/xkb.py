"""libxkbcommon, as far as the layouts need it: what keys give, and what a compose sequence makes of that.

Debian: libxkbcommon0, with the layouts of xkb-data and the compose sequences of libx11-data.
"""

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_uint32, c_void_p, create_string_buffer

COMPOSING, COMPOSED, CANCELLED = 1, 2, 3
"""What a compose state says; 0 is nothing."""

LOCALE = b"en_US.UTF-8"
EVDEV_OFFSET = 8
"""A key code of X is that of evdev and this."""


class RuleNames(Structure):
    """struct xkb_rule_names."""

    _fields_ = [(name, c_char_p) for name in ("rules", "model", "layout", "variant", "options")]


FUNCTIONS = {
    "xkb_context_new": (c_void_p, c_int),
    "xkb_context_set_log_level": (None, c_void_p, c_int),
    "xkb_keymap_new_from_names": (c_void_p, c_void_p, POINTER(RuleNames), c_int),
    "xkb_keymap_unref": (None, c_void_p),
    "xkb_keymap_mod_get_index": (c_uint32, c_void_p, c_char_p),
    "xkb_state_new": (c_void_p, c_void_p),
    "xkb_state_unref": (None, c_void_p),
    "xkb_state_update_key": (c_int, c_void_p, c_uint32, c_int),
    "xkb_state_update_mask": (c_int, c_void_p, *[c_uint32] * 6),
    "xkb_state_key_get_one_sym": (c_uint32, c_void_p, c_uint32),
    "xkb_state_key_get_utf8": (c_int, c_void_p, c_uint32, c_char_p, c_size_t),
    "xkb_keysym_get_name": (c_int, c_uint32, c_char_p, c_size_t),
    "xkb_compose_table_new_from_locale": (c_void_p, c_void_p, c_char_p, c_int),
    "xkb_compose_state_new": (c_void_p, c_void_p, c_int),
    "xkb_compose_state_unref": (None, c_void_p),
    "xkb_compose_state_feed": (c_int, c_void_p, c_uint32),
    "xkb_compose_state_get_status": (c_int, c_void_p),
    "xkb_compose_state_get_utf8": (c_int, c_void_p, c_char_p, c_size_t),
}


class Xkb:
    """The library, with a context and the table of compose sequences."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libxkbcommon.so.0")
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments
        self.context = self.library.xkb_context_new(0)
        self.library.xkb_context_set_log_level(self.context, 0)
        self.compositions = self.library.xkb_compose_table_new_from_locale(self.context, LOCALE, 0)
        assert self.compositions, f"there are no compose sequences of {LOCALE.decode()}: install libx11-data"

    def name(self, symbol: int) -> str:
        """Return the name of a symbol, such as `dead_acute`."""
        buffer = create_string_buffer(64)
        self.library.xkb_keysym_get_name(symbol, buffer, len(buffer))
        return buffer.value.decode()


class Keymap:
    """A layout of a keyboard with 105 keys. Raises LookupError if there is no such layout."""

    def __init__(self, xkb: Xkb, layout: str, variant: str) -> None:
        self.xkb = xkb
        names = RuleNames(b"evdev", b"pc105", layout.encode(), variant.encode(), None)
        self.pointer = xkb.library.xkb_keymap_new_from_names(xkb.context, ctypes.byref(names), 0)
        if not self.pointer:
            raise LookupError(f"xkb-data has no {layout}({variant})")

    def __del__(self) -> None:
        if self.pointer:
            self.xkb.library.xkb_keymap_unref(self.pointer)


class Keyboard:
    """The state of a keyboard, and what it types."""

    def __init__(self, keymap: Keymap, *, caps_lock: bool = False) -> None:
        self.keymap = keymap
        self._library = keymap.xkb.library
        self._state = self._library.xkb_state_new(keymap.pointer)
        if caps_lock:
            lock = 1 << self._library.xkb_keymap_mod_get_index(keymap.pointer, b"Lock")
            self._library.xkb_state_update_mask(self._state, 0, 0, lock, 0, 0, 0)

    def __del__(self) -> None:
        self._library.xkb_state_unref(self._state)

    def move(self, code: int, *, down: bool) -> None:
        """Press or release a key, by its evdev code."""
        self._library.xkb_state_update_key(self._state, code + EVDEV_OFFSET, int(down))

    def symbol(self, code: int) -> int:
        """Return what a key gives now; 0 is nothing."""
        return int(self._library.xkb_state_key_get_one_sym(self._state, code + EVDEV_OFFSET))

    def text(self, code: int) -> str:
        """Return the text that a key gives now."""
        buffer = create_string_buffer(64)
        self._library.xkb_state_key_get_utf8(self._state, code + EVDEV_OFFSET, buffer, len(buffer))
        return buffer.value.decode()


class Composer:
    """What a program makes of symbols: characters, and sequences that become one."""

    def __init__(self, xkb: Xkb) -> None:
        self._library = xkb.library
        self._state = self._library.xkb_compose_state_new(xkb.compositions, 0)

    def __del__(self) -> None:
        self._library.xkb_compose_state_unref(self._state)

    def feed(self, symbol: int) -> int:
        """Return the status after a symbol. A modifier belongs to no sequence, and ends none: the status is 0."""
        belongs = self._library.xkb_compose_state_feed(self._state, symbol)
        return int(self._library.xkb_compose_state_get_status(self._state)) if belongs else 0

    def text(self) -> str:
        """Return what a sequence that is composed makes."""
        buffer = create_string_buffer(256)
        self._library.xkb_compose_state_get_utf8(self._state, buffer, len(buffer))
        return buffer.value.decode()
