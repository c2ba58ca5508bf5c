import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory

from flowpi.core.errors import PanelError
from flowpi.core.lights import BLUE, WHITE
from flowpi.panel import gpio
from flowpi.panel.gpio import GpioButton, GpioLed, GpioRgbLed


@pytest.fixture
def no_pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Simulate a machine without a GPIO chip that gpiozero supports."""
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "nothing")
    Device.pin_factory = None
    yield
    Device.pin_factory = None


def test_the_pin_is_as_bright_as_it_is_told(pins: MockFactory) -> None:
    led, pin = GpioLed(27), pins.pin(27)
    led.open()
    assert pin.state == 0
    led.set(WHITE)
    assert pin.state == 1
    led.set(BLUE.dimmed(0.25))
    assert pin.state == pytest.approx(0.25)
    led.close()
    led.close()
    assert pin.state == 0 or pin.function == "input"


def test_only_what_is_dimmed_wakes_somebody_up(pins: MockFactory) -> None:
    led = GpioRgbLed((5, 6, 13))
    led.open()
    assert [pins.pin(pin).frequency for pin in (5, 6, 13)] == [None, None, None]
    led.set(BLUE)
    assert [pins.pin(pin).frequency is not None for pin in (5, 6, 13)] == [False, True, False]
    led.set(WHITE)
    assert [pins.pin(pin).frequency for pin in (5, 6, 13)] == [None, None, None]
    assert [pins.pin(pin).state for pin in (5, 6, 13)] == [1, 1, 1]
    led.close()


def test_if_one_pin_is_in_use_the_others_are_free_again(pins: MockFactory) -> None:
    first = GpioLed(13)
    first.open()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 5, 6, 13 cannot be used \(GPIOPinInUse: "):
        GpioRgbLed((5, 6, 13)).open()
    first.close()
    GpioRgbLed((5, 6, 13)).open()


def test_closed_the_pin_is_free_again(pins: MockFactory) -> None:
    for _ in range(2):
        led = GpioLed(27)
        led.open()
        led.close()


def test_a_pin_in_use_is_told_in_words(pins: MockFactory) -> None:
    first = GpioLed(27)
    first.open()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(GPIOPinInUse: .*set its kind to none$"):
        GpioLed(27).open()
    first.close()


def test_a_failure_in_mid_life_is_told_in_words(pins: MockFactory) -> None:
    led = GpioLed(27)
    led.open()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(OutputDeviceBadValue: "):
        led.set(WHITE.dimmed(7.0))
    led.close()


async def test_without_gpio_both_say_so(no_pins: None) -> None:
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(BadPinFactory: "):
        GpioLed(27).open()
    button = GpioButton(17, active_low=True)
    with pytest.raises(PanelError, match=r"^the button on GPIO 17 cannot be used \(BadPinFactory: "):
        button.open(lambda pressed, at: None)
    button.close()


def test_has_chip_looks_for_the_device(tmp_path: "object", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpio, "CHIPS", f"{tmp_path}/gpiochip*")
    assert not gpio.has_chip()
    open(f"{tmp_path}/gpiochip0", "w").close()
    assert gpio.has_chip()


async def test_a_button_has_no_thread_that_polls(pins: MockFactory) -> None:
    before = threading.active_count()
    button = GpioButton(17, active_low=True)
    button.open(lambda pressed, at: None)
    pins.pin(17).drive_low()
    assert threading.active_count() == before
    button.close()


def test_lgpio_leaves_its_files_where_only_we_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_WD", raising=False)
    gpio.library("gpiozero")
    directory = Path(os.environ["LG_WD"])
    assert directory.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("LG_WD", "/run/flowpi")
    gpio.library("gpiozero")
    assert os.environ["LG_WD"] == "/run/flowpi"


@pytest.mark.parametrize("name", ["gpiozero", "lgpio"])
def test_the_library_leaves_the_directory_as_it_is(name: str, tmp_path: Path) -> None:
    pytest.importorskip("lgpio")
    code = f"import os; from flowpi.panel.gpio import library; library({name!r}); import lgpio; print(os.getcwd())"
    others = {**os.environ, "PYTHONPATH": os.getcwd(), "TMPDIR": str(tmp_path)}
    others.pop("LG_WD", None)
    there = tmp_path / "there"
    there.mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=there, env=others, stdout=subprocess.PIPE, text=True)
    assert done.stdout == f"{there}\n"
    assert not list(there.iterdir())


def test_preload_never_fails(no_pins: None) -> None:
    gpio.preload()
