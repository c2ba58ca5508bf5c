"""The check of button and LED: reported by the daemon, or their devices; with --panel, the user tries them."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flowpi.config.schema import Config
from flowpi.core import lights, topics
from flowpi.core.errors import FlowpiError, PanelError, UsageError
from flowpi.core.faults import BUTTON as BUTTON_FAULT
from flowpi.core.faults import LED as LED_FAULT
from flowpi.doctor.ask import events_of, faults_of
from flowpi.doctor.findings import Finding, fine, skipped

BUTTON, LED = "button", "LED"

PRESS_S = 10.0

FLASHES = 5

NO_PI = "set button.kind and led.kind to none: this is no Raspberry Pi, and `flowpi record` does the button's work"

NO_SPI = "sudo raspi-config nonint do_spi 0 && sudo systemctl restart flowpi"

HINT = re.compile(r"(?<=[)']): ")
"""The place where the hint of a fault begins: after a closing parenthesis or quote."""

AS_IT_SAYS = "`flowpi status` tells more"

AS_ROOT = "run it as root (sudo flowpi doctor)"

WIRING = "check the wires: the button to its pin and to ground, the long leg of the LED to its resistor and pin"


def examine(config: Config) -> list[Finding]:
    return look(config, faults_of(config), Path("/dev"))


def look(config: Config, faults: dict[str, str] | None, devices: Path) -> list[Finding]:
    """Check button and LED without the user's help.

    Args:
        config: the configuration.
        faults: the daemon's faults, messages by code; None if no daemon runs.
        devices: the folder /dev.
    """
    found: list[Finding] = []
    for part, code, kind in ((BUTTON, BUTTON_FAULT, config.button.kind), (LED, LED_FAULT, config.led.kind)):
        if kind == "none":
            continue
        if faults is not None and code in faults:
            found.append(_told(part, faults[code]))
            continue
        match kind:
            case "evdev":
                finding = _input_device(Path(config.button.device or ""))
            case "apa102":
                bus, number = config.led.spi
                finding = _spi_device(devices / f"spidev{bus}.{number}")
            case _:
                finding = _gpio_chip(devices) or (_gpio_pins(part, config) if faults is None else None)
        if finding is None:
            how = "the daemon has it" if faults is not None else "can be used"
            found.append(fine(part, f"{how}; `flowpi doctor --panel` tries it"))
        elif finding not in found:
            found.append(finding)
    return found


def _gpio_chip(devices: Path) -> Finding | None:
    """Return a finding of the part `panel`, as button and LED share the chip, or None if the chip can be used."""
    chips = sorted(devices.glob("gpiochip*"))
    if not chips:
        return Finding("panel", "warning", "no_chip", "there is no GPIO chip here", NO_PI)
    return None if _may_use(chips) else skipped("panel", f"this user may not use the GPIO chip; {AS_ROOT}")


def _gpio_pins(part: str, config: Config) -> Finding | None:
    """Return a finding if a pin of the part cannot be used; the daemon does not run, and so uses none."""
    from flowpi.panel import gpio

    if part == BUTTON:
        pins = (config.button.pin, *(one.pin for one in config.profiles.values() if one.pin is not None))
    else:
        pins = config.led.pins if config.led.kind == "rgb" and config.led.pins else (config.led.pin,)
    try:
        gpio.check(part, *pins)
    except PanelError as error:
        return Finding(part, "warning", "pin", error.message, error.hint)
    return None


def _spi_device(device: Path) -> Finding | None:
    if not device.exists():
        return Finding(LED, "warning", "no_chip", f"there is no {device}", NO_SPI)
    return None if _may_use([device]) else skipped(LED, f"this user may not use {device}; {AS_ROOT}")


def _input_device(device: Path) -> Finding | None:
    if not device.exists():
        hint = "plug it in, and set button.device to one of `ls /dev/input/by-id/`"
        return Finding(BUTTON, "warning", "absent", f"there is no {device}", hint)
    return None if _may_use([device]) else skipped(BUTTON, f"this user may not use {device}; {AS_ROOT}")


def _may_use(devices: list[Path]) -> bool:
    return any(os.access(device, os.R_OK | os.W_OK) for device in devices)


def _told(part: str, message: str) -> Finding:
    what, *hint = HINT.split(message, 1)
    return Finding(part, "warning", "pin", what, hint[0] if hint else AS_IT_SAYS)


def ask_person(config: Config) -> list[Finding]:
    """Ask the user to press the button and to look at the LED.

    Raises:
        UsageError: stdin or stderr is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("--panel asks somebody at a terminal", "run `flowpi doctor --panel` in a terminal (ssh -t)")
    runs = faults_of(config) is not None
    found = []
    if config.button.kind != "none":
        found.append(pressed(lambda: daemon_sees(config, _ask) if runs else asyncio.run(_driver_sees(config))))
    if config.led.kind != "none":
        found.append(skipped(LED, "the daemon has it: sudo systemctl stop flowpi first") if runs else _flash(config))
    return found


def _say(words: str) -> None:
    """Write to the user on stderr; stdout is for the findings."""
    sys.stderr.write(words)
    sys.stderr.flush()


def _ask() -> None:
    """Ask for the press; called once a press would be seen, as the drivers may need seconds to load."""
    _say(f"Press the button now ({PRESS_S:.0f} s) ...\n")


def pressed(sees: Callable[[], bool]) -> Finding:
    """Return the finding for the button; `sees` waits for a press and returns whether it came."""
    try:
        if sees():
            return fine(BUTTON, "was pressed and seen")
    except FlowpiError as error:
        return Finding(BUTTON, "failure", "pin", error.message, error.hint)
    hint = WIRING + ", and button.pin and button.active"
    return Finding(BUTTON, "failure", "not_pressed", f"no press was seen within {PRESS_S:.0f} s", hint)


def daemon_sees(config: Config, ask: Callable[[], None]) -> bool:
    """Whether the daemon reports a press in time. Raises FlowpiError if the daemon no longer runs."""
    return any(event["kind"] == "pressed" for event in events_of(config, topics.BUTTON, PRESS_S, ask))


async def _driver_sees(config: Config) -> bool:
    from flowpi.panel.drivers import make_button

    seen = asyncio.Event()
    button = make_button(config.button, lambda trouble: None, config.profiles)
    button.open(lambda line, is_pressed, at: seen.set() if is_pressed else None)
    _ask()
    try:
        async with asyncio.timeout(PRESS_S):
            await seen.wait()
    except TimeoutError:
        return False
    finally:
        button.close()
    return True


def _flash(config: Config) -> Finding:
    from flowpi.panel.drivers import make_led

    led = make_led(config.led)
    try:
        led.open()
        for _ in range(FLASHES):
            led.set(lights.WHITE)
            time.sleep(0.3)
            led.set(lights.DARK)
            time.sleep(0.3)
    except PanelError as error:
        return Finding(LED, "failure", "pin", error.message, error.hint)
    finally:
        led.close()
    _say("Did the LED flash? y/n ")
    return flashed(sys.stdin.readline())


def flashed(answer: str) -> Finding:
    if answer.strip().lower().startswith("y"):
        return fine(LED, "flashed")
    return Finding(LED, "failure", "dark", "did not flash", WIRING + ", and led.pin")
