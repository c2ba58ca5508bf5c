"""The panel: the button and LED that the configuration asks for, opened after READY and replaced by a reload.

If one of them fails, that is a fault, and the appliance still works by commands.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.core.errors import PanelError
from flowpi.core.faults import BUTTON, LED
from flowpi.panel.button import Button, Line, NoButton, OnEdge
from flowpi.panel.drivers import GPIO_KINDS, make_button, make_led
from flowpi.panel.led import Led, LedPlayer, NoLed
from flowpi.panel.night import brightness

log = logging.getLogger(__name__)


class Faults(Protocol):
    """The place where faults are raised, and cleared when they are over."""

    def raise_fault(self, code: str, message: str) -> None: ...
    def clear_fault(self, code: str) -> None: ...


class Panel:
    """The button and the LED. Call `open` once; at the stop, first `close_button`, and `close` when all has been shown.

    Attributes:
        led_player: plays on whichever LED is open now.
    """

    def __init__(
        self,
        config: Config,
        faults: Faults,
        *,
        button: Button | None = None,
        led: Led | None = None,
    ) -> None:
        """
        Args:
            button, led: drivers to use instead of the configured ones.
        """
        self._button_settings, self._led_settings, self._profiles = config.button, config.led, config.profiles
        self._faults = faults
        self._given_button, self._given_led = button, led
        self._on_edge: OnEdge = lambda line, pressed, at: None
        self._button: Button = NoButton()
        self.led_player = LedPlayer(lambda error: self._raise(LED, error))

    async def open(self, on_edge: OnEdge) -> None:
        """Open the LED and the button. `on_edge` is passed to `Button.open`."""
        self._on_edge = on_edge
        button, led = self._given_button, self._given_led
        gpio_led = led is None and self._led_settings.kind in GPIO_KINDS
        gpio_button = button is None and self._button_settings.kind in GPIO_KINDS
        if (gpio_led or gpio_button) and not await _has_gpio():
            led = NoLed() if gpio_led else led
            button = NoButton() if gpio_button else button
        if button is None and self._button_settings.kind == "evdev":
            from flowpi.panel import evdev

            await asyncio.to_thread(evdev.preload)
        self._open_led(led)
        self._open_button(button)

    async def apply(self, config: Config) -> None:
        """Open other drivers if `button` or `led` changed, or a profile has another button."""
        same = (config.button, config.led) == (self._button_settings, self._led_settings)
        if same and _contacts(config.profiles) == _contacts(self._profiles):
            return
        self._button_settings, self._led_settings, self._profiles = config.button, config.led, config.profiles
        # Both are closed before either is opened: the new button may use a pin of the old LED.
        self.close_button()
        self.led_player.replace(NoLed())
        self._faults.clear_fault(BUTTON)
        self._faults.clear_fault(LED)
        await self.open(self._on_edge)

    def is_pressed(self, line: Line) -> bool | None:
        """Return the current state of a contact, or None if only its edges are known."""
        return self._button.is_pressed(line)

    def close_button(self) -> None:
        """Stop accepting presses. The LED stays as it is."""
        button, self._button = self._button, NoButton()
        button.close()

    async def played(self) -> None:
        """Wait until the pattern that the LED shows now has been seen."""
        await self.led_player.played()

    def close(self) -> None:
        """Turn the LED off, and release it."""
        self.led_player.close()

    def _open_led(self, given: Led | None) -> None:
        settings = self._led_settings
        try:
            led = given or make_led(settings)
            led.open()
        except PanelError as error:
            self._raise(LED, error)
        else:
            self.led_player.replace(led, lambda: brightness(settings, datetime.now().astimezone().time()))

    def _open_button(self, given: Button | None) -> None:
        try:
            button = given or make_button(self._button_settings, self._button_changed, self._profiles)
            button.open(self._on_edge)
        except PanelError as error:
            self._raise(BUTTON, error)
        else:
            self._button = button

    def _button_changed(self, error: PanelError | None) -> None:
        if error is None:
            self._faults.clear_fault(BUTTON)
        else:
            self._raise(BUTTON, error)

    def _raise(self, code: str, error: Exception) -> None:
        log.warning("%s", error)
        self._faults.raise_fault(code, str(error))


def _contacts(profiles: Mapping[str, ProfileSettings]) -> dict[str, tuple[int | None, str | None]]:
    """Return pin and key of each profile that has one."""
    return {name: (one.pin, one.key) for name, one in profiles.items() if (one.pin, one.key) != (None, None)}


async def _has_gpio() -> bool:
    from flowpi.panel import gpio

    if not gpio.has_chip():
        log.info("no GPIO chip here, so no button and no LED: `flowpi record` does their work")
        return False
    await asyncio.to_thread(gpio.preload)
    return True
