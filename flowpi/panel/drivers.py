"""Makes the drivers that the configuration asks for. Each driver is imported only if it is wanted."""

from collections.abc import Mapping

from flowpi.config import schema
from flowpi.config.profiles import ProfileSettings
from flowpi.panel.button import Button, Line, NoButton, OnTrouble
from flowpi.panel.led import Led, NoLed

GPIO_KINDS = ("gpio", "rgb")
"""The kinds of button and LED that need a GPIO chip."""

NO_PROFILES: Mapping[str, ProfileSettings] = {}


def make_led(led: schema.LedSettings) -> Led:
    """Make the LED driver, which is not opened yet."""
    match led.kind:
        case "gpio":
            from flowpi.panel.gpio import GpioLed

            return GpioLed(led.pin)
        case "rgb":
            from flowpi.panel.gpio import GpioRgbLed

            assert led.pins is not None
            return GpioRgbLed(led.pins)
        case "apa102":
            from flowpi.panel.apa102 import Apa102Led

            return Apa102Led(*led.spi, led.count)
        case "none":
            return NoLed()


def make_button(
    button: schema.ButtonSettings, on_trouble: OnTrouble, profiles: Mapping[str, ProfileSettings] = NO_PROFILES
) -> Button:
    """Make the button driver, which is not opened yet.

    Args:
        on_trouble: called by a button that can be unplugged.
        profiles: those that have a pin or a key of their own are contacts, too.
    """
    match button.kind:
        case "gpio":
            from flowpi.panel.gpio import GpioButton

            pins: dict[Line, int] = {None: button.pin}
            pins |= {name: one.pin for name, one in profiles.items() if one.pin is not None}
            return GpioButton(pins, active_low=button.active == "low")
        case "evdev":
            from flowpi.panel.evdev import EvdevButton

            assert button.device is not None
            assert button.key is not None
            keys: dict[Line, str] = {None: button.key}
            keys |= {name: one.key for name, one in profiles.items() if one.key is not None}
            return EvdevButton(button.device, keys, on_trouble)
        case "none":
            return NoButton()
