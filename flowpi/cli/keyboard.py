"""`flowpi keyboard test`: the keys that type a text."""

import sys

from flowpi.cli.terminal import json_line, print_safely
from flowpi.config.keyboard import KeyboardSettings
from flowpi.core.errors import UsageError
from flowpi.core.safe_text import printable
from flowpi.core.typing.layout import Layout
from flowpi.core.typing.strokes import Modifiers, Stroke, Typed
from flowpi.keyboard.layouts import layout, system_layout

SAMPLE = "Hello, World! 0123456789 @#$%^&*()[]{}<>|~`'\"\\ äöüß éèêç ñ €"
"""What is typed if no text is given: what differs between layouts."""

ROWS = {
    2: "1 2 3 4 5 6 7 8 9 0 MINUS EQUAL",
    16: "Q W E R T Y U I O P LEFTBRACE RIGHTBRACE ENTER",
    30: "A S D F G H J K L SEMICOLON APOSTROPHE GRAVE",
    43: "BACKSLASH Z X C V B N M COMMA DOT SLASH",
    57: "SPACE CAPSLOCK",
    71: "KP7 KP8 KP9 KPMINUS KP4 KP5 KP6 KPPLUS KP1 KP2 KP3 KP0",
    86: "102ND",
    89: "RO",
    124: "YEN",
}
NAMES = {first + index: f"KEY_{name}" for first, row in ROWS.items() for index, name in enumerate(row.split())}
"""The names that Linux gives to the keys, which are those of a US keyboard."""


def test(
    settings: KeyboardSettings, text: str | None, *, layout_named: tuple[str | None, str], dry_run: bool, as_json: bool
) -> int:
    """Print the strokes that type a text, and return the exit code.

    Args:
        layout_named: a layout, and its variant or empty; without the first, the layout of the settings.

    Raises:
        UsageError: no keyboard is configured, or a variant has no layout.
        KeyboardError: nothing can be typed, or not all.
        LayoutError: there is no table of the layout.
    """
    name, variant = layout_named
    if variant and name is None:
        raise UsageError("--variant needs --layout", "")
    if not dry_run and settings.kind == "none":
        raise UsageError("no keyboard is configured", "set publish.keyboard.kind, or add --dry-run to see the keys")
    if name is None:
        name, variant = settings.layout, settings.variant or ""
    keys = layout(name, variant) if name else layout(*system_layout())
    text = SAMPLE if text is None else text
    typed = keys.strokes(text, newline=settings.newline, unicode=settings.unicode, host=settings.host)
    if not dry_run:
        return _type(settings, typed)
    if as_json:
        print_safely(json_line(_described(keys, typed)))
        return 0
    done = 0
    for char, end in zip(typed.text, typed.ends, strict=True):
        print_safely(f"{printable(char)}  {' '.join(map(_named, typed.strokes[done:end]))}")
        done = end
    name = f"{keys.name} {keys.variant}".rstrip()
    print(f"layout {name}: {typed.replaced} replaced, {typed.dropped} left out", file=sys.stderr)
    return 0


def _type(settings: KeyboardSettings, typed: Typed) -> int:
    from flowpi.keyboard.trial import type_once

    type_once(settings, typed)
    print(f"typed {len(typed.ends)} characters, {typed.replaced} replaced, {typed.dropped} left out", file=sys.stderr)
    return 0


def _named(stroke: Stroke) -> str:
    """Return a stroke as users write it, as in SHIFT+KEY_A."""
    return "+".join([*_held(stroke), *([NAMES[stroke.keycode]] if stroke.keycode else [])]) or "RELEASE"


def _held(stroke: Stroke) -> list[str]:
    return [str(modifier.name) for modifier in Modifiers if modifier in stroke.modifiers]


def _described(keys: Layout, typed: Typed) -> dict[str, object]:
    return {
        "layout": keys.name,
        "variant": keys.variant or None,
        "strokes": [{"keycode": stroke.keycode, "modifiers": _held(stroke)} for stroke in typed.strokes],
        "text": typed.text,
        "ends": typed.ends,
        "replaced": typed.replaced,
        "dropped": typed.dropped,
    }
