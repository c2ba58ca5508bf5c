"""The contract of a button, for the scripted one, the one on a GPIO pin, and a key of an input device."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from gpiozero.pins.mock import MockFactory

from flowpi.core.errors import PanelError
from flowpi.panel.button import Button, NoButton, ScriptedButton
from flowpi.panel.evdev import EvdevButton
from flowpi.panel.gpio import GpioButton
from tests.panel.keyboard import KEY, PEDAL, Keyboard
from tests.waiting import ticks, until


@dataclass
class Bench:
    button: Button
    press: Callable[[], None]
    release: Callable[[], None]


@pytest.fixture(params=["scripted", "low", "high", "evdev"])
def bench(request: pytest.FixtureRequest, pins: MockFactory) -> Bench:
    if request.param == "scripted":
        scripted = ScriptedButton()
        return Bench(scripted, lambda: scripted.press(time.monotonic()), lambda: scripted.release(time.monotonic()))
    if request.param == "evdev":
        keyboard = Keyboard()
        return Bench(EvdevButton(PEDAL, KEY, lambda error: None, keyboard.open), keyboard.press, keyboard.release)
    pin = pins.pin(17)
    low = request.param == "low"
    press, release = (pin.drive_low, pin.drive_high) if low else (pin.drive_high, pin.drive_low)
    return Bench(GpioButton(17, active_low=low), press, release)


class Edges:
    def __init__(self) -> None:
        self.heard: list[tuple[bool, float]] = []

    def __call__(self, pressed: bool, at: float) -> None:
        asyncio.get_running_loop()  # fails if this is not the loop's thread
        self.heard.append((pressed, at))


async def test_edges_come_on_the_loop_with_their_time(bench: Bench) -> None:
    edges = Edges()
    bench.button.open(edges)
    before = time.monotonic()
    for act in (bench.press, bench.release, bench.press):
        act() if isinstance(bench.button, ScriptedButton) else await asyncio.to_thread(act)
    await until(lambda: len(edges.heard) == 3)
    assert [pressed for pressed, _ in edges.heard] == [True, False, True]
    times = [before, *(at for _, at in edges.heard), time.monotonic()]
    assert times == sorted(times)
    bench.button.close()


@pytest.mark.parametrize("bench", ["low", "evdev"], indirect=True)
async def test_the_time_is_that_of_the_edge_however_late_the_loop_is(bench: Bench) -> None:
    edges, button = Edges(), bench.button
    button.open(edges)
    bench.press()
    pressed_by = time.monotonic()
    while time.monotonic() < pressed_by + 0.02:
        pass  # the loop stalls
    await until(lambda: edges.heard)
    assert edges.heard[0][1] <= pressed_by
    button.close()


async def test_closed_it_reports_nothing_more(bench: Bench) -> None:
    edges = Edges()
    bench.button.open(edges)
    if not isinstance(bench.button, ScriptedButton):
        bench.press()  # handed over, but not handled yet
    bench.button.close()
    bench.button.close()
    if isinstance(bench.button, ScriptedButton):
        bench.press()
    await ticks()
    assert edges.heard == []


async def test_it_opens_again(bench: Bench) -> None:
    edges = Edges()
    for _ in range(2):
        bench.button.open(edges)
        bench.press()
        await ticks()
        bench.release()
        await ticks()
        bench.button.close()
    assert [pressed for pressed, _ in edges.heard] == [True, False] * 2


def test_an_edge_after_the_end_of_the_loop_is_harmless(pins: MockFactory) -> None:
    button = GpioButton(17, active_low=True)

    async def main() -> None:
        button.open(Edges())

    asyncio.run(main())
    pins.pin(17).drive_low()  # an exception would be raised here, where gpiozero calls
    button.close()


async def test_a_pin_in_use_is_told_in_words(pins: MockFactory) -> None:
    first, second = GpioButton(17, active_low=True), GpioButton(17, active_low=True)
    first.open(Edges())
    with pytest.raises(PanelError) as caught:
        second.open(Edges())
    assert str(caught.value).startswith("the button on GPIO 17 cannot be used (GPIOPinInUse: ")
    assert str(caught.value).endswith("): check the pin number and who else uses it, or set its kind to none")
    first.close()
    second.close()


async def test_no_button_is_harmless() -> None:
    button = NoButton()
    button.open(Edges())
    button.close()


async def test_an_edge_has_the_time_at_which_it_was_seen_however_late_it_is_told(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    button, edges, pin = GpioButton(17, active_low=True), Edges(), pins.pin(17)
    assert button.is_pressed() is None
    button.open(edges)
    for pressed, drive, ago_s in ((True, pin.drive_low, 5.0), (False, pin.drive_high, 3.0)):
        monkeypatch.setattr(pins, "ticks", lambda ago_s=ago_s: time.monotonic() + ago_s)  # the driver's clock
        seen_at = time.monotonic() - ago_s
        drive()
        await until(lambda pressed=pressed: edges.heard and edges.heard[-1][0] is pressed)  # type: ignore[misc]
        assert edges.heard[-1][1] == pytest.approx(seen_at, abs=1.0)
        assert button.is_pressed() is pressed
    button.close()
