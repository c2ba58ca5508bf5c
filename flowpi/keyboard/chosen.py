"""The device and the layout that the configuration chooses."""

from collections.abc import Callable
from functools import cache

from flowpi.config.keyboard import KeyboardSettings
from flowpi.core.typing.layout import Layout
from flowpi.keyboard.hid import HidGadget
from flowpi.keyboard.layouts import layout, system_layout
from flowpi.keyboard.output import Output
from flowpi.keyboard.uinput import Uinput


def output_of(settings: KeyboardSettings) -> Callable[[], Output]:
    """Return what opens the device, and raises KeyboardError."""
    return HidGadget if settings.kind == "hid" else Uinput


def layout_of(settings: KeyboardSettings) -> Callable[[], Layout]:
    """Return what reads the layout, once, and raises LayoutError."""

    @cache
    def read() -> Layout:
        return layout(*(system_layout() if settings.layout is None else (settings.layout, settings.variant or "")))

    return read
