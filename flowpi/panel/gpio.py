"""The button and LEDs on GPIO pins, by gpiozero.

gpiozero (with lgpio on a Pi) is imported at the first use, which costs 120 ms and 10 MB. lgpio reports edges on a
thread of its own, which dies silently if a callback raises: the callback hands over a value and does nothing else.
"""

import asyncio
import contextlib
import glob
import importlib
import logging
import os
import time
from pathlib import Path
from typing import Any

from flowpi.core.errors import PanelError
from flowpi.core.lights import Color
from flowpi.host.paths import make_private
from flowpi.panel.button import OnEdge

log = logging.getLogger(__name__)

CHIPS = "/dev/gpiochip*"

PWM_HZ = 100
"""The frequency of dimming: too fast for the eye to see."""

NO_LGPIO = "install the Debian package of flowpi, which has lgpio; pip has it for Python 3.11 only"


def has_chip() -> bool:
    return bool(glob.glob(CHIPS))


def preload() -> None:
    """Import the libraries. Call it on a thread, so that the loop does not wait. `open` reports what fails here."""
    with contextlib.suppress(Exception):
        library("gpiozero").Device.ensure_pin_factory()


def library(name: str) -> Any:
    """Import and return gpiozero, or lgpio, which it uses. This may raise any exception.

    lgpio makes a FIFO in $LG_WD, which the units set, or else in the working directory.
    """
    if "LG_WD" not in os.environ:
        import tempfile

        os.environ["LG_WD"] = str(make_private(Path(tempfile.gettempdir()) / f"flowpi-{os.geteuid()}"))
        here = os.getcwd()
        with contextlib.suppress(Exception):  # gpiozero can do without it, and reports why
            importlib.import_module("lgpio")
        os.chdir(here)  # lgpio changes to $LG_WD, and relative paths would mean other files there
    return importlib.import_module(name)


class GpioButton:
    """A contact between a pin and ground or supply."""

    def __init__(self, pin: int, *, active_low: bool) -> None:
        """`pin`: the BCM number. `active_low`: the button connects the pin to ground; the pull is set to match."""
        self._pin = pin
        self._active_low = active_low
        self._device: Any = None

    def open(self, on_edge: OnEdge) -> None:
        loop = asyncio.get_running_loop()

        def report(pressed: bool, at: float) -> None:
            if self._device is not None:  # it has not been closed meanwhile
                on_edge(pressed, at)

        def hand_over(pressed: bool, ago_s: float | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon stops
                # The kernel recorded the time of the edge; on a busy machine this thread may be late.
                loop.call_soon_threadsafe(report, pressed, time.monotonic() - (ago_s or 0.0))

        try:
            # gpiozero's `Button` would start a thread that polls it ten times a second.
            self._device = contact = library("gpiozero").DigitalInputDevice(self._pin, pull_up=self._active_low)
            contact.when_activated = lambda: hand_over(True, contact.active_time)
            contact.when_deactivated = lambda: hand_over(False, contact.inactive_time)
        except Exception as error:  # gpiozero's and lgpio's errors share no base
            raise _explain("button", self._pin, error) from error

    def is_pressed(self) -> bool | None:
        try:
            return None if self._device is None else bool(self._device.is_active)
        except Exception as error:  # see `open`
            log.debug("cannot read the button on GPIO %d: %s", self._pin, error)
            return None

    def close(self) -> None:
        if self._device is not None:
            self._device.close()
            self._device = None


class _GpioLeds:
    """LEDs on one pin each.

    An LED that is dark or fully lit uses no PWM: lgpio does PWM in software, and would wake up a hundred times a second
    for as long as flowpi runs.
    """

    def __init__(self, *pins: int) -> None:
        self._pins = pins
        self._devices: list[Any] = []

    def open(self) -> None:
        try:
            for pin in self._pins:
                self._devices.append(library("gpiozero").PWMLED(pin, frequency=None))
        except Exception as error:  # see GpioButton.open
            self.close()
            raise self._explain(error) from error

    def _light(self, *levels: float) -> None:
        try:
            for device, level in zip(self._devices, levels, strict=True):
                device.frequency = PWM_HZ if 0.0 < level < 1.0 else None
                device.value = level
        except Exception as error:  # see GpioButton.open
            raise self._explain(error) from error

    def close(self) -> None:
        while self._devices:
            self._devices.pop().close()

    def _explain(self, error: Exception) -> PanelError:
        return _explain("LED", ", ".join(map(str, self._pins)), error)


class GpioLed(_GpioLeds):
    """An LED of one colour."""

    def __init__(self, pin: int) -> None:
        super().__init__(pin)

    def set(self, color: Color) -> None:
        self._light(color.brightness)


class GpioRgbLed(_GpioLeds):
    """An RGB LED with a common cathode, on three pins."""

    def __init__(self, pins: tuple[int, int, int]) -> None:
        """`pins`: those of red, green and blue."""
        super().__init__(*pins)

    def set(self, color: Color) -> None:
        self._light(color.red, color.green, color.blue)


def _explain(what: str, pin: int | str, error: Exception) -> PanelError:
    hint = "check the pin number and who else uses it, or set its kind to none"
    if isinstance(error, ImportError):  # gpiozero finds no library for the chip
        hint = NO_LGPIO
    return PanelError(f"the {what} on GPIO {pin} cannot be used ({type(error).__name__}: {error})", hint)
