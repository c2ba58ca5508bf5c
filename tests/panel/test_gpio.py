"""LEDs and buttons on GPIO pins, down to the lines of a board without a kernel."""

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpiozero import Device

from flowpi.core.errors import PanelError
from flowpi.core.lights import BLUE, DARK, WHITE
from flowpi.panel import gpio
from flowpi.panel.gpio import GpioButton, GpioLed, GpioRgbLed
from tests import clock
from tests.panel.board import Board, Line
from tests.waiting import ticks

RGB = (5, 6, 13)


@pytest.fixture
def no_chip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Simulate a machine without a GPIO chip."""
    monkeypatch.setattr(gpio, "CHIPS", f"{tmp_path}/none*")
    Device.pin_factory = None
    yield
    Device.pin_factory = None


def levels(board: Board, *pins: int) -> list[bool]:
    return [board.level(pin) for pin in pins]


def open_button(pin: int = 17) -> GpioButton:
    button = GpioButton({None: pin}, active_low=True)
    button.open(lambda line, pressed, at: None)
    return button


def test_an_led_is_on_the_pin_with_its_number_of_the_chip_with_the_header(board: Board) -> None:
    led = GpioLed(27)
    led.open()
    assert board.lines[27].consumer == "flowpi"
    led.set(WHITE)
    assert board.level(27)
    led.close()


def test_without_a_running_loop_an_led_can_be_lit_and_dark(board: Board) -> None:
    led = GpioRgbLed(RGB)
    led.open()
    for color, wanted in ((WHITE, True), (DARK, False)):
        led.set(color)
        assert levels(board, *RGB) == [wanted] * 3
    led.close()


async def test_only_what_is_dimmed_wakes_somebody_up(jumping_clock: clock.JumpingLoop, board: Board) -> None:
    led = GpioRgbLed(RGB)
    led.open()
    assert clock.timers() == 0
    led.set(WHITE)
    assert (clock.timers(), levels(board, *RGB)) == (0, [True] * 3)
    led.set(BLUE.dimmed(0.5))  # red is dark
    assert clock.timers() == 2
    led.set(DARK)
    assert (clock.timers(), levels(board, *RGB)) == (0, [False] * 3)
    led.set(WHITE.dimmed(0.5))
    assert clock.timers() == 3
    led.close()
    assert clock.timers() == 0


def test_a_line_that_was_lit_is_low_before_it_is_released(board: Board) -> None:
    """Some chips keep its level."""
    led = GpioLed(27)
    led.open()
    led.set(WHITE)
    led.close()
    assert [lit for _, lit in board.lines[27].changes] == [False, True, False]
    assert not board.lines[27].used


def test_a_line_that_cannot_be_made_low_is_released(board: Board) -> None:
    led = GpioLed(27)
    led.open()
    board.broken = True
    with pytest.raises(OSError, match="Input/output error"):
        led.close()
    assert not board.lines[27].used


@pytest.mark.parametrize(("active_low", "pull"), [(True, "PULL_UP"), (False, "PULL_DOWN")])
async def test_the_pull_of_a_button_is_the_level_of_one_that_is_not_pressed(
    board: Board, active_low: bool, pull: str
) -> None:
    button = GpioButton({None: 17}, active_low=active_low)
    button.open(lambda line, pressed, at: None)
    assert board.lines[17].settings.bias.name == pull
    assert button.is_pressed() is False
    button.close()


async def test_a_pin_with_a_resistor_is_not_pulled_the_other_way(board: Board) -> None:
    button = GpioButton({None: 3}, active_low=False)
    with pytest.raises(PanelError, match=r"^the button on GPIO 3 cannot be used \(PinFixedPull: GPIO3 has a resistor"):
        button.open(lambda line, pressed, at: None)


def test_if_one_pin_is_in_use_the_others_are_free_again(board: Board) -> None:
    first = GpioLed(13)
    first.open()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 5, 6, 13 cannot be used \(GPIOPinInUse: "):
        GpioRgbLed(RGB).open()
    first.close()
    led = GpioRgbLed(RGB)
    led.open()
    led.close()


async def test_a_pin_of_another_program_is_told_with_its_name(board: Board) -> None:
    board.lines[17] = Line(used=True, consumer="gpio-keys")
    with pytest.raises(PanelError, match=r"^the button on GPIO 17 cannot be used \(gpio-keys is using it\): choose"):
        open_button()
    board.lines[17].consumer = ""
    with pytest.raises(PanelError, match=r"\(the kernel is using it\)"):
        open_button()
    board.lines[17].used = False
    open_button().close()  # gpiozero does not remember the failure


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EACCES, "usermod --append --groups gpio"), (errno.EINVAL, "update the kernel if it is older than 5.10")],
)
def test_a_chip_that_may_not_be_used_is_told_with_what_to_do(board: Board, number: int, hint: str) -> None:
    board.refusal = number
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(the kernel refuses it: ") as caught:
        GpioLed(27).open()
    assert hint in caught.value.hint


def test_without_the_chip_of_a_header_those_that_there_are_are_told(board: Board) -> None:
    board.labels["gpiochip11"] = "INT34C5:00"
    with pytest.raises(PanelError, match=r"Raspberry Pi's header: .*/gpiochip0 is gpio-brcmstb.*gpiochip11 is INT34C5"):
        GpioLed(27).open()


async def test_a_failure_in_mid_life_is_told_in_words(board: Board) -> None:
    led = GpioLed(27)
    led.open()
    board.broken = True
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(OSError: .*Input/output error\)"):
        led.set(WHITE)
    board.broken = False
    led.close()


async def test_a_chip_that_is_gone_does_not_keep_the_loop_busy(board: Board) -> None:
    button, failures = open_button(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context["exception"]))
    board.broken = True
    board.drive(17, False)
    await ticks()
    assert [str(failure) for failure in failures] == ["[Errno 19] No such device"]
    button.close()


async def test_without_gpio_both_say_so(no_chip: None) -> None:
    assert not gpio.has_chip()
    with pytest.raises(PanelError, match=r"^the LED on GPIO 27 cannot be used \(there is no GPIO chip here\): set"):
        GpioLed(27).open()
    with pytest.raises(PanelError, match=r"^the button on GPIO 17 cannot be used \(there is no GPIO chip here\): set"):
        open_button()


def test_has_chip_looks_for_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpio, "CHIPS", f"{tmp_path}/gpiochip*")
    assert not gpio.has_chip()
    (tmp_path / "gpiochip0").touch()
    assert gpio.has_chip()


def test_preload_never_fails(no_chip: None) -> None:
    gpio.preload()


def test_without_its_library_it_says_what_to_install(no_chip: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flowpi.panel.pins", None)
    with pytest.raises(
        PanelError, match=r"^the LED on GPIO 27 cannot be used \(ModuleNotFoundError: .*pip install gpiod"
    ):
        GpioLed(27).open()
