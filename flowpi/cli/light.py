"""`flowpi light`: the patterns of the LED, drawn on the terminal or shown on the LED.

A pattern is shown until a signal arrives. This is for users who wire an LED, and for `flowpi-signal.service`, which
shows by it that the daemon is not running.
"""

import asyncio
import logging
import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime

from flowpi.config.loading import load_for_light
from flowpi.config.schema import LedSettings
from flowpi.core.errors import PanelError
from flowpi.core.lights import ALL, Pattern, drawing
from flowpi.panel import gpio
from flowpi.panel.drivers import GPIO_KINDS, make_led
from flowpi.panel.led import LedPlayer
from flowpi.panel.night import brightness

log = logging.getLogger(__name__)

NAMES = tuple(pattern.name.replace(" ", "-") for pattern in ALL)


def draw() -> int:
    """Print all patterns, each on one line, or on as many as a terminal needs. Returns the exit code."""
    width = max(map(len, NAMES))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for name, pattern in zip(NAMES, ALL, strict=True):
        line = f"{name:<{width}}  {drawing(pattern)}"
        if not columns or len(line) + 2 + len(pattern.meaning) <= columns:
            print(f"{line}  {pattern.meaning}")
            continue
        print(line[:columns])
        print(textwrap.fill(pattern.meaning, columns, initial_indent="  ", subsequent_indent="  "))
    return 0


def show(name: str, path: str | None, overrides: Sequence[str]) -> int:
    """Show a pattern on the LED until a signal arrives. Returns the exit code.

    Args:
        name: one of `NAMES`.
        path, overrides: those of the configuration, which may be invalid: then as much of it is used as possible.

    Raises:
        PanelError: there is no LED, or another process is using it.
    """
    config, wrong = load_for_light(path, overrides)
    if wrong is not None:
        log.warning("%s", wrong)
    asyncio.run(_show(ALL[NAMES.index(name)], config.led))
    return 0


async def _show(pattern: Pattern, led: LedSettings) -> None:
    """Show a pattern until a signal arrives. Raises PanelError, also if the LED fails meanwhile."""
    if led.kind == "none":
        raise PanelError("there is no LED", "set led.kind")
    if led.kind in GPIO_KINDS and not gpio.has_chip():
        raise PanelError("there is no GPIO chip here", "set led.kind to what this machine has")
    over = asyncio.get_running_loop().create_future()

    def end(error: Exception | None = None) -> None:
        if not over.done():
            over.set_result(error)

    driver = make_led(led)
    try:
        driver.open()
    except PanelError as error:
        hint = f"while the daemon runs it has the LED, so stop it (systemctl stop flowpi); or {error.hint}"
        raise PanelError(error.message, hint) from error
    led_player = LedPlayer(end)
    led_player.replace(driver, lambda: brightness(led, datetime.now().astimezone().time()))
    led_player.show(pattern)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    failure: Exception | None = await over
    led_player.close()
    if failure is not None:
        raise failure
