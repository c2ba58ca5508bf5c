"""What an LED is, and the player that brings a pattern of `core/lights.py` onto it."""

import asyncio
import logging
from collections.abc import Callable
from itertools import cycle
from typing import Protocol

from flowpi.core.lights import Pattern

log = logging.getLogger(__name__)


class Led(Protocol):
    def open(self) -> None:
        """Take the LED, dark.

        Raises:
            PanelError: there is no such LED here.
        """

    def set(self, brightness: float) -> None:
        """From 0, dark, to 1. Raises PanelError if the hardware fails."""

    def close(self) -> None:
        """Dark, and released. Harmless when closed."""


class NoLed:
    def open(self) -> None:
        pass

    def set(self, brightness: float) -> None:
        pass

    def close(self) -> None:
        pass


class RecordingLed:
    """An LED that hands on what it shows: to a terminal, a file, a test."""

    def __init__(self, show: Callable[[float], None]) -> None:
        self._show = show
        self._open = False

    def open(self) -> None:
        self._open = True
        self._show(0.0)

    def set(self, brightness: float) -> None:
        self._show(brightness)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._show(0.0)


class Lamp:
    """Plays the current pattern on an LED. A steady pattern wakes nobody up.

    An LED that fails is told once and then left alone until it is replaced: it never hurts a dictation.
    """

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._led: Led = NoLed()
        self._brightness = 1.0
        self._pattern: Pattern | None = None
        self._timer: asyncio.TimerHandle | None = None

    def use(self, led: Led, brightness: float = 1.0) -> None:
        """Play on this LED, which is open, from now on; `brightness` scales all patterns."""
        self._let_go()
        self._led, self._brightness = led, brightness
        pattern, self._pattern = self._pattern, None
        if pattern is not None:
            self.show(pattern)

    def show(self, pattern: Pattern) -> None:
        if pattern is self._pattern:
            return
        self._pattern = pattern
        self._cancel()
        if len(pattern.steps) == 1:
            self._set(pattern.steps[0][0])
        else:
            self._play(cycle(pattern.steps), self._loop.time())

    def close(self) -> None:
        """Dark."""
        self._pattern = None
        self._let_go()

    def _play(self, steps: "cycle[tuple[float, float]]", due: float) -> None:
        brightness, seconds = next(steps)
        self._timer = self._loop.call_at(due + seconds, self._play, steps, due + seconds)
        self._set(brightness)

    def _set(self, brightness: float) -> None:
        try:
            self._led.set(brightness * self._brightness)
        except Exception as error:  # whatever a GPIO library throws, a dictation goes on
            self._let_go()
            self._on_failure(error)

    def _let_go(self) -> None:
        self._cancel()
        led, self._led = self._led, NoLed()
        try:
            led.close()
        except Exception as error:  # as in `_set`
            log.debug("the LED does not close: %s", error)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
