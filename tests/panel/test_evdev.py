"""A pedal that is unplugged, stuck, or grabbed by another program.

What it has in common with other buttons is tested in `test_button.py`.
"""

import asyncio
import sys

import pytest

from flowpi.core.errors import PanelError
from flowpi.panel.button import Line
from flowpi.panel.evdev import REOPEN_S, EvdevButton, open_kernels
from tests import clock
from tests.panel.keyboard import KEY, PEDAL, Keyboard
from tests.waiting import ticks


class Desk:
    """A button on a keyboard, and what it reports."""

    def __init__(self) -> None:
        self.keyboard = Keyboard()
        self.edges: list[bool] = []
        self.trouble: list[str | None] = []
        self.button = EvdevButton(PEDAL, {None: KEY}, self._hear, self.keyboard.open)

    def open(self) -> None:
        self.button.open(lambda line, pressed, at: self.edges.append(pressed))

    def _hear(self, error: PanelError | None) -> None:
        self.trouble.append(None if error is None else str(error))


async def test_only_its_key_counts_and_its_repeat_does_not() -> None:
    desk = Desk()
    desk.open()
    desk.keyboard.press("KEY_A")
    desk.keyboard.press()
    for _ in range(3):
        desk.keyboard.repeat()
    desk.keyboard.release("KEY_A")
    await ticks()
    assert desk.edges == [True]
    desk.keyboard.release()
    await ticks()
    assert desk.edges == [True, False]
    desk.button.close()


async def test_it_is_grabbed_so_that_it_does_not_also_type() -> None:
    desk = Desk()
    desk.open()
    assert desk.keyboard.grabbed == 1
    desk.button.close()


async def test_what_the_kernel_dropped_is_made_up_for() -> None:
    desk = Desk()
    desk.open()
    desk.keyboard.press()
    await ticks()
    desk.keyboard.release()
    desk.keyboard.overflow()
    await ticks()
    assert desk.edges == [True, False]
    desk.button.close()


async def test_a_device_that_vanishes_lets_go_of_its_key() -> None:
    desk = Desk()
    desk.open()
    desk.keyboard.press()
    await ticks()
    desk.keyboard.unplug()
    await ticks()
    assert desk.edges == [True, False]
    assert desk.trouble == [
        f"the button {PEDAL} cannot be used (No such device): plug it in, or see /dev/input/by-id and set button.device"
    ]
    desk.button.close()


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.usefixtures("jumping_clock")
async def test_a_device_that_is_not_there_is_looked_for_once_a_second(at_start: bool) -> None:
    desk = Desk()
    desk.keyboard.plugged_in = not at_start
    desk.open()
    desk.keyboard.unplug()
    await asyncio.sleep(10.5 * REOPEN_S)
    assert len(desk.trouble) == 1
    assert 10 <= desk.keyboard.opened <= 11
    desk.keyboard.plug_in()
    await asyncio.sleep(1.1 * REOPEN_S)
    assert desk.trouble[1:] == [None]
    opened = desk.keyboard.opened
    desk.keyboard.press()
    desk.keyboard.release()
    await asyncio.sleep(10)
    assert desk.edges == [True, False]
    assert desk.keyboard.opened == opened
    desk.button.close()
    assert clock.timers() == 0


@pytest.mark.usefixtures("jumping_clock")
async def test_one_that_another_program_has_is_waited_for() -> None:
    desk = Desk()
    desk.keyboard.busy = True
    desk.open()
    assert "another program has grabbed it" in (desk.trouble[0] or "")
    desk.keyboard.busy = False
    await asyncio.sleep(1.1 * REOPEN_S)
    assert desk.trouble[1:] == [None]
    desk.button.close()


@pytest.mark.usefixtures("jumping_clock")
async def test_closed_while_it_is_away_it_is_not_looked_for() -> None:
    desk = Desk()
    desk.keyboard.plugged_in = False
    desk.open()
    desk.button.close()
    await asyncio.sleep(10)
    assert (desk.keyboard.opened, clock.timers()) == (1, 0)


async def test_an_edge_may_close_it() -> None:
    """Close the button in the callback of its edge, as a press that reloads the configuration does."""
    desk = Desk()
    heard: list[bool] = []

    def close(line: Line, pressed: bool, at: float) -> None:
        heard.append(pressed)
        desk.button.close()

    desk.button.open(close)
    desk.keyboard.press()
    desk.keyboard.release()
    await ticks()
    assert heard == [True]


async def test_a_key_that_there_is_not() -> None:
    button = EvdevButton(PEDAL, {None: "KEY_NONESUCH"}, lambda error: None, Keyboard().open)
    with pytest.raises(PanelError, match=r"^there is no key 'KEY_NONESUCH': `evtest DEVICE` shows the names"):
        button.open(lambda line, pressed, at: None)


async def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "evdev", None)
    button = EvdevButton(PEDAL, {None: KEY}, lambda error: None)
    with pytest.raises(
        PanelError, match=r"^button\.kind evdev needs the package evdev \(.*\): install the Debian package of flowpi"
    ):
        button.open(lambda line, pressed, at: None)


def test_the_kernels_own_says_that_there_is_none() -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        open_kernels("/dev/input/by-id/nonesuch")
