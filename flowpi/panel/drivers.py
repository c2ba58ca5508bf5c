"""Makes the drivers that the configuration asks for. Each driver is imported only if it is wanted."""

from flowpi.config import schema
from flowpi.panel.button import Button, NoButton, OnTrouble
from flowpi.panel.led import Led, NoLed

GPIO_KINDS = ("gpio", "rgb")
"""The kinds of button and LED that need a GPIO chip."""


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


def make_button(button: schema.ButtonSettings, on_trouble: OnTrouble) -> Button:
    """Make the button driver, which is not opened yet. `on_trouble`: called by a button that can be unplugged."""
    match button.kind:
        case "gpio":
            from flowpi.panel.gpio import GpioButton

            return GpioButton(button.pin, active_low=button.active == "low")
        case "evdev":
            from flowpi.panel.evdev import EvdevButton

            assert button.device is not None
            assert button.key is not None
            return EvdevButton(button.device, button.key, on_trouble)
        case "none":
            return NoButton()
