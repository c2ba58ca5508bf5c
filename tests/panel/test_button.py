"""The contract of a button, for the scripted one, the one on a GPIO pin, and a key of an input device."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from flowpi.core.errors import PanelError
from flowpi.panel.button import Button, Line, NoButton, ScriptedButton
from flowpi.panel.evdev import EvdevButton
from flowpi.panel.gpio import GpioButton
from tests import clock
from tests.panel.board import Board
from tests.panel.keyboard import KEY, PEDAL, Keyboard
from tests.waiting import ticks, until


@dataclass
class Bench:
    """A button with two contacts: its own, and one of the profile `german`."""

    button: Button
    press: Callable[..., None]
    release: Callable[..., None]


@pytest.fixture(params=["scripted", "low", "high", "evdev"])
def bench(request: pytest.FixtureRequest, board: Board) -> Bench:
    if request.param == "scripted":
        scripted = ScriptedButton()
        return Bench(
            scripted,
            lambda line=None: scripted.press(time.monotonic(), line),
            lambda line=None: scripted.release(time.monotonic(), line),
        )
    if request.param == "evdev":
        keyboard, keys = Keyboard(), {None: KEY, "german": "KEY_A"}
        return Bench(
            EvdevButton(PEDAL, keys, lambda error: None, keyboard.open),
            lambda line=None: keyboard.press(keys[line]),
            lambda line=None: keyboard.release(keys[line]),
        )
    pins, low = {None: 17, "german": 22}, request.param == "low"
    return Bench(
        GpioButton(pins, active_low=low),
        lambda line=None: board.drive(pins[line], not low),
        lambda line=None: board.drive(pins[line], low),
    )


class Edges:
    def __init__(self) -> None:
        self.heard: list[tuple[bool, float]] = []
        self.lines: list[Line] = []

    def __call__(self, line: Line, pressed: bool, at: float) -> None:
        asyncio.get_running_loop()  # fails if this is not the loop's thread
        self.heard.append((pressed, at))
        self.lines.append(line)


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


async def test_an_edge_says_which_contact_it_is_of(bench: Bench) -> None:
    edges = Edges()
    bench.button.open(edges)
    acts: list[tuple[Callable[..., None], Line]] = [
        (bench.press, None),
        (bench.press, "german"),
        (bench.release, None),
        (bench.release, "german"),
    ]
    for act, line in acts:
        act(line) if isinstance(bench.button, ScriptedButton) else await asyncio.to_thread(act, line)
    await until(lambda: len(edges.heard) == 4)
    assert edges.lines == [None, "german", None, "german"]
    assert [pressed for pressed, _ in edges.heard] == [True, True, False, False]
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


def test_an_edge_after_the_end_of_the_loop_is_harmless(board: Board) -> None:
    button, edges = GpioButton({None: 17}, active_low=True), Edges()

    async def main() -> None:
        button.open(edges)

    asyncio.run(main())
    board.drive(17, False)
    button.close()
    assert edges.heard == []


async def test_a_pin_in_use_is_told_in_words(board: Board) -> None:
    first, second = GpioButton({None: 17}, active_low=True), GpioButton({None: 4, "german": 17}, active_low=True)
    first.open(Edges())
    with pytest.raises(PanelError) as caught:
        second.open(Edges())
    assert str(caught.value).startswith("the button on GPIO 17 cannot be used (GPIOPinInUse: ")
    assert str(caught.value).endswith("): check the pin number and who else uses it, or set its kind to none")
    first.close()
    second.close()
    third = GpioButton({None: 4, "german": 17}, active_low=True)  # what the failed one had opened is free again
    third.open(Edges())
    third.close()


async def test_no_button_is_harmless() -> None:
    button = NoButton()
    button.open(Edges())
    button.close()


async def test_a_button_that_is_held_while_it_is_opened_has_not_been_pressed(board: Board) -> None:
    button, edges = GpioButton({None: 17}, active_low=True), Edges()
    assert button.is_pressed() is None
    board.drive(17, False)
    button.open(edges)
    assert button.is_pressed() is True
    board.drive(17, True)
    await until(lambda: edges.heard)
    assert [pressed for pressed, _ in edges.heard] == [False]
    assert button.is_pressed() is False
    button.close()


async def test_a_callback_that_raises_costs_no_other_edge(board: Board) -> None:
    """Neither one that has been read already nor one that comes later."""
    button, heard, told = GpioButton({None: 17}, active_low=True), list[bool](), list[object]()

    def report(line: Line, pressed: bool, at: float) -> None:
        heard.append(pressed)
        if len(heard) in (1, 4):
            raise ZeroDivisionError

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    button.open(report)
    for high in (False, True, False, True):
        board.drive(17, high)
    await until(lambda: len(heard) == 4)
    board.drive(17, False)
    await until(lambda: len(heard) == 5)
    assert heard == [True, False, True, False, True]
    assert [type(error) for error in told] == [ZeroDivisionError] * 2
    button.close()


async def test_closed_by_an_edge_it_reports_none_of_those_that_follow(board: Board) -> None:
    button, heard = GpioButton({None: 17}, active_low=True), list[bool]()

    def report(line: Line, pressed: bool, at: float) -> None:
        heard.append(pressed)
        button.close()

    button.open(report)
    for high in (False, True, False):
        board.drive(17, high)
    await until(lambda: heard)
    await ticks()
    assert heard == [True]


async def test_an_idle_button_has_no_thread_and_no_timer(board: Board) -> None:
    before = set(threading.enumerate())
    button, edges = GpioButton({None: 17, "german": 22}, active_low=True), Edges()
    button.open(edges)
    assert clock.timers() == 0
    board.drive(17, False)
    await until(lambda: edges.heard)
    assert set(threading.enumerate()) <= before
    button.close()
