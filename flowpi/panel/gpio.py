"""The button and LEDs on GPIO pins, by gpiozero on the pins of `pins.py`.

Both are imported at the first use, which costs 150 ms and 10 MB. Everything happens on the event loop.
"""

import contextlib
import glob
import importlib
import logging
import time
from collections.abc import Mapping
from typing import Any

from flowpi.core.errors import PanelError
from flowpi.core.lights import Color
from flowpi.panel.button import Line, OnEdge

log = logging.getLogger(__name__)

CHIPS = "/dev/gpiochip*"

PWM_HZ = 100
"""What gpiozero is told to allow levels between dark and lit; `dimming.py` has the rhythm."""


def has_chip() -> bool:
    return bool(glob.glob(CHIPS))


def preload() -> None:
    """Import the libraries. Call it on a thread, so that the loop does not wait. `open` reports what fails here."""
    with contextlib.suppress(Exception):
        devices()


def devices() -> Any:
    """Import and return gpiozero, with the pins of the header. This may raise any exception."""
    gpiozero = importlib.import_module("gpiozero")
    if gpiozero.Device.pin_factory is None:
        from flowpi.panel.header import Header
        from flowpi.panel.pins import LoopFactory

        gpiozero.Device.pin_factory = LoopFactory(Header(CHIPS))
    return gpiozero


def check(what: str, *pins: int) -> None:
    """Check that nobody uses these pins, without using them. Raises PanelError as `open` would."""
    for pin in pins:
        try:
            devices().Device.pin_factory.header.check(pin)
        except Exception as error:  # see GpioButton.open
            raise _explain(what, pin, error) from error


class GpioButton:
    """Contacts between a pin each and ground or supply."""

    def __init__(self, pins: Mapping[Line, int], *, active_low: bool) -> None:
        """`pins`: the BCM numbers. `active_low`: a contact connects its pin to ground; the pull is set to match."""
        self._pins = pins
        self._active_low = active_low
        self._devices: dict[Line, Any] = {}

    def open(self, on_edge: OnEdge) -> None:
        for line, pin in self._pins.items():
            try:
                self._open(line, pin, on_edge)
            except Exception as error:  # gpiozero's errors and the kernel's share no base
                self.close()
                raise _explain("button", pin, error) from error

    def _open(self, line: Line, pin: int, on_edge: OnEdge) -> None:
        """Open one contact. This may raise any exception."""
        # gpiozero's `Button` would start a thread that polls it ten times a second.
        self._devices[line] = contact = devices().DigitalInputDevice(pin, pull_up=self._active_low)

        def report(pressed: bool, ago_s: float | None) -> None:
            # The kernel recorded the time of the edge; on a busy machine the loop may be late.
            on_edge(line, pressed, time.monotonic() - (ago_s or 0.0))

        contact.when_activated = lambda: report(True, contact.active_time)
        contact.when_deactivated = lambda: report(False, contact.inactive_time)

    def is_pressed(self, line: Line = None) -> bool | None:
        try:
            return bool(self._devices[line].is_active) if line in self._devices else None
        except Exception as error:  # see `open`
            log.debug("cannot read the button on GPIO %d: %s", self._pins[line], error)
            return None

    def close(self) -> None:
        with contextlib.ExitStack() as closing:  # all of them, whichever fails
            while self._devices:
                closing.callback(self._devices.popitem()[1].close)


class _GpioLeds:
    """LEDs on one pin each."""

    def __init__(self, *pins: int) -> None:
        self._pins = pins
        self._devices: list[Any] = []

    def open(self) -> None:
        try:
            for pin in self._pins:
                self._devices.append(devices().PWMLED(pin, frequency=PWM_HZ))
        except Exception as error:  # see GpioButton.open
            self.close()
            raise self._explain(error) from error

    def _light(self, *levels: float) -> None:
        try:
            for device, level in zip(self._devices, levels, strict=True):
                device.value = level
        except Exception as error:  # see GpioButton.open
            raise self._explain(error) from error

    def close(self) -> None:
        with contextlib.ExitStack() as closing:  # all of them, whichever fails
            while self._devices:
                closing.callback(self._devices.pop().close)

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
    reason, hint = (
        f"{type(error).__name__}: {error}",
        "check the pin number and who else uses it, or set its kind to none",
    )
    match error:
        case PanelError():
            reason, hint = error.message, error.hint
        case ImportError():
            hint = "install the Debian package of flowpi, or: pip install gpiod"
    return PanelError(f"the {what} on GPIO {pin} cannot be used ({reason})", hint)
