"""The interface of an LED, and the player that shows a pattern of `core/lights.py` on it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Protocol

from flowpi.core.lights import DARK, Color, Pattern

log = logging.getLogger(__name__)


class Led(Protocol):
    def open(self) -> None:
        """Open the LED, and make it dark.

        Raises:
            PanelError: there is no such LED here.
        """

    def set(self, color: Color) -> None:
        """Show `color`; an LED of one colour shows its brightness. Raises PanelError if the hardware fails."""

    def close(self) -> None:
        """Make the LED dark and release it. Harmless when closed."""


class NoLed:
    def open(self) -> None:
        pass

    def set(self, color: Color) -> None:
        pass

    def close(self) -> None:
        pass


class RecordingLed:
    """An LED of one colour that passes its brightness on: to a terminal, a file or a test."""

    def __init__(self, show: Callable[[float], None]) -> None:
        self._show = show
        self._open = False

    def open(self) -> None:
        self._open = True
        self._show(0.0)

    def set(self, color: Color) -> None:
        self._show(color.brightness)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._show(0.0)


def always() -> float:
    """Return full brightness, at any time of day."""
    return 1.0


class LedPlayer:
    """Plays the current pattern on an LED. A steady pattern causes no wake-ups.

    An LED that fails is reported once and not used until it is replaced: it never disturbs a dictation.
    """

    def __init__(self, on_failure: Callable[[Exception], None]) -> None:
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._led: Led = NoLed()
        self._brightness: Callable[[], float] = always
        self._pattern: Pattern | None = None
        self._playing_once = False
        self._timer: asyncio.TimerHandle | None = None

    def replace(self, led: Led, brightness: Callable[[], float] = always) -> None:
        """Play on `led`, which is open, from now on. `brightness` scales all patterns, and is called at each step."""
        self._release()
        self._led, self._brightness = led, brightness
        pattern, self._pattern = self._pattern, None
        if pattern is not None:
            self.show(pattern)

    def show(self, pattern: Pattern, *, once: Pattern | None = None, at_once: bool = True) -> None:
        """Play `pattern` over and over.

        Args:
            once: a pattern to play through first.
            at_once: whether to interrupt a `once` pattern of an earlier call.
        """
        if once is None and self._playing_once and not at_once:
            self._pattern = pattern
            return
        if once is None and pattern is self._pattern and not self._playing_once:
            return
        self._cancel()
        self._pattern = pattern
        if once is not None:
            self._playing_once = True
            self._play(once, iter(once.steps), self._loop.time())
        else:
            self._repeat()

    async def played(self) -> None:
        """Wait until the current pattern can have been seen: for two of its cycles, or not at all without an LED."""
        if self._pattern is not None and not isinstance(self._led, NoLed):
            await asyncio.sleep(2 * sum(seconds for _, seconds in self._pattern.steps))

    def close(self) -> None:
        """Make the LED dark and release it."""
        self._pattern = None
        self._release()

    def _repeat(self) -> None:
        assert self._pattern is not None
        self._playing_once = False
        if len(self._pattern.steps) == 1:
            self._set(self._pattern, self._pattern.steps[0][0])
        else:
            self._play(self._pattern, cycle(self._pattern.steps), self._loop.time())

    def _play(self, pattern: Pattern, steps: Iterator[tuple[float, float]], due: float) -> None:
        step = next(steps, None)
        if step is None:
            self._timer = None
            self._repeat()
            return
        brightness, seconds = step
        self._timer = self._loop.call_at(due + seconds, self._play, pattern, steps, due + seconds)
        self._set(pattern, brightness)

    def _set(self, pattern: Pattern, brightness: float) -> None:
        try:
            self._led.set(pattern.color.dimmed(brightness * self._brightness()) if brightness else DARK)
        except Exception as error:  # whatever a GPIO library raises, a dictation goes on
            self._release()
            self._on_failure(error)

    def _release(self) -> None:
        self._cancel()
        led, self._led = self._led, NoLed()
        try:
            led.close()
        except Exception as error:  # as in `_set`
            log.debug("cannot close the LED: %s", error)

    def _cancel(self) -> None:
        self._playing_once = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
