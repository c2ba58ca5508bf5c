import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flowpi.core.errors import PanelError
from flowpi.core.lights import (
    ALL,
    BLUE,
    DARK,
    DELIVERED,
    KEPT,
    LISTENING,
    NO_BACKEND,
    NO_MICROPHONE,
    NO_NETWORK,
    READY,
    WORKING,
    Color,
    Pattern,
)
from flowpi.panel.led import LedPlayer, NoLed, RecordingLed
from tests import clock


class Bulb:
    """An LED that writes down what it shows and when. `broken`: what it raises instead."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, float]] = []
        """When, and how bright."""
        self.colors: list[Color] = []
        self.broken: Exception | None = None
        self.closed = 0

    def open(self) -> None:
        pass

    def set(self, color: Color) -> None:
        if self.broken:
            raise self.broken
        self.shown.append((round(asyncio.get_running_loop().time(), 3), color.brightness))
        self.colors.append(color)

    def close(self) -> None:
        self.closed += 1
        if self.broken:
            raise self.broken


Scene = Callable[[LedPlayer, Bulb], Coroutine[Any, Any, None]]


def play(scene: Scene) -> tuple[Bulb, list[Exception]]:
    """A player with an LED, and the failures that it reported."""
    bulb, failures = Bulb(), list[Exception]()

    async def main() -> None:
        player = LedPlayer(failures.append)
        player.replace(bulb)
        await scene(player, bulb)

    clock.run(main())
    return bulb, failures


def test_a_pattern_is_played_over_and_over() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(NO_MICROPHONE)
        await asyncio.sleep(4.1)

    bulb, _ = play(scene)
    on = [at for at, brightness in bulb.shown if brightness]
    off = [at for at, brightness in bulb.shown if not brightness]
    assert on == [0.0, 0.3, 2.0, 2.3, 4.0]
    assert off == [0.15, 0.45, 2.15, 2.45]


@pytest.mark.parametrize("pattern", [pattern for pattern in ALL if len(pattern.steps) == 1])
def test_a_steady_pattern_wakes_nobody_up(pattern: Pattern) -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(WORKING)
        player.show(pattern)
        assert clock.timers() == 0
        await asyncio.sleep(60)

    bulb, _ = play(scene)
    assert bulb.shown[1:] == [(0.0, pattern.steps[0][0])]


def test_the_same_pattern_again_does_not_begin_it_again() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(NO_BACKEND)
        await asyncio.sleep(1)
        player.show(NO_BACKEND)
        await asyncio.sleep(2.5)

    bulb, _ = play(scene)
    assert bulb.shown == [(0.0, 1.0), (0.15, 0.0), (3.0, 1.0), (3.15, 0.0)]


def test_another_pattern_begins_at_once() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(NO_BACKEND)
        await asyncio.sleep(1)
        player.show(LISTENING)
        await asyncio.sleep(10)

    bulb, _ = play(scene)
    assert bulb.shown == [(0.0, 1.0), (0.15, 0.0), (1.0, 1.0)]


def test_a_loop_that_was_late_does_not_shift_the_rhythm() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(WORKING)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, clock.JumpingLoop)
        await asyncio.sleep(0.15)
        loop.block(0.08)
        await asyncio.sleep(0.1)

    bulb, _ = play(scene)
    assert [at for at, _ in bulb.shown] == [0.0, 0.1, 0.23, 0.3]


def test_brightness_scales_every_pattern() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        level = 0.25
        player.replace(bulb, lambda: level)
        player.show(LISTENING)
        level = 0.5
        player.show(WORKING)
        await asyncio.sleep(0.15)

    bulb, _ = play(scene)
    assert bulb.shown == [(0.0, 0.25), (0.0, 0.5), (0.1, 0.0)]


def test_an_led_with_colors_gets_that_of_the_pattern() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.replace(bulb, lambda: 0.5)
        player.show(LISTENING)
        player.show(READY)

    bulb, _ = play(scene)
    assert bulb.colors == [BLUE.dimmed(0.5), DARK]


def test_a_moment_is_played_once_and_then_what_is() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(READY, once=DELIVERED)
        await asyncio.sleep(10)
        assert clock.timers() == 0

    bulb, _ = play(scene)
    assert bulb.shown == [(0.0, 0.0), (0.15, 1.0), (0.3, 0.0), (0.45, 1.0), (0.9, 0.0), (1.5, 0.0)]


def test_what_can_wait_comes_after_the_moment_and_what_cannot_cuts_it_short() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(READY, once=KEPT)
        await asyncio.sleep(0.5)
        player.show(NO_NETWORK, at_once=False)
        await asyncio.sleep(1.5)  # half a second of it
        player.show(READY, once=KEPT)
        await asyncio.sleep(0.5)
        player.show(LISTENING)
        await asyncio.sleep(10)

    bulb, _ = play(scene)
    moment = [(0.0, 0.0), (0.15, 1.0)]
    assert bulb.shown == [
        *moment, (0.6, 0.0), (0.75, 1.0), (0.9, 0.0), (1.5, 1.0), (1.95, 0.0),
        *[(2.0 + at, brightness) for at, brightness in moment], (2.5, 1.0),
    ]  # fmt: skip


def test_the_pattern_that_was_shown_before_a_moment_comes_back_when_it_is_cut_short() -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(LISTENING, once=DELIVERED)
        await asyncio.sleep(0.1)
        player.show(LISTENING)
        await asyncio.sleep(10)

    bulb, _ = play(scene)
    assert bulb.shown == [(0.0, 0.0), (0.1, 1.0)]


def test_another_led_goes_on_with_the_pattern_and_the_first_is_closed() -> None:
    other = Bulb()

    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(LISTENING)
        player.replace(other)

    bulb, _ = play(scene)
    assert bulb.closed == 1
    assert other.shown == [(0.0, 1.0)]


@pytest.mark.parametrize("pattern", ALL)
def test_closed_it_is_dark_and_wakes_nobody_up(pattern: Pattern) -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(pattern)
        player.close()
        assert clock.timers() == 0
        player.close()

    bulb, _ = play(scene)
    assert bulb.closed == 1


@pytest.mark.parametrize("error", [PanelError("gone"), OSError(5, "Input/output error"), ValueError()])
def test_an_led_that_fails_is_told_once_closed_and_left_alone(error: Exception) -> None:
    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        player.show(WORKING)
        bulb.broken = error
        await asyncio.sleep(1)
        player.show(LISTENING)
        player.show(WORKING)
        await asyncio.sleep(1)
        player.close()

    bulb, failures = play(scene)
    assert failures == [error]
    assert bulb.closed == 1


def test_after_a_failure_a_new_led_works() -> None:
    other = Bulb()

    async def scene(player: LedPlayer, bulb: Bulb) -> None:
        bulb.broken = PanelError("gone")
        player.show(READY)
        player.replace(other)
        player.show(LISTENING)

    play(scene)
    assert other.shown == [(0.0, 0.0), (0.0, 1.0)]


def test_the_recording_led_is_dark_at_both_ends() -> None:
    shown: list[float] = []
    led = RecordingLed(shown.append)
    led.open()
    led.set(BLUE.dimmed(0.5))
    led.close()
    led.close()
    assert shown == [0.0, 0.5, 0.0]


def test_no_led_is_harmless() -> None:
    led = NoLed()
    led.open()
    led.set(BLUE)
    led.close()
