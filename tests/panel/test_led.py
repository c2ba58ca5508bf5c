import asyncio

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
    """An LED that records what it shows and when. `broken`: the exception that it raises instead."""

    def __init__(self) -> None:
        self.shown: list[tuple[float, float]] = []
        """The times of all changes, and their brightness."""
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


@pytest.fixture
def bulb() -> Bulb:
    return Bulb()


@pytest.fixture
def failures() -> list[Exception]:
    """The failures that the player reported."""
    return []


@pytest.fixture
async def player(jumping_clock: clock.JumpingLoop, bulb: Bulb, failures: list[Exception]) -> LedPlayer:
    """A player of patterns, with the bulb as its LED."""
    player = LedPlayer(failures.append)
    player.replace(bulb)
    return player


async def test_a_pattern_is_played_over_and_over(player: LedPlayer, bulb: Bulb) -> None:
    player.show(NO_MICROPHONE)
    await asyncio.sleep(4.1)
    on = [at for at, brightness in bulb.shown if brightness]
    off = [at for at, brightness in bulb.shown if not brightness]
    assert on == [0.0, 0.3, 2.0, 2.3, 4.0]
    assert off == [0.15, 0.45, 2.15, 2.45]


@pytest.mark.parametrize("pattern", [pattern for pattern in ALL if len(pattern.steps) == 1])
async def test_a_steady_pattern_wakes_nobody_up(player: LedPlayer, bulb: Bulb, pattern: Pattern) -> None:
    player.show(WORKING)
    player.show(pattern)
    assert clock.timers() == 0
    await asyncio.sleep(60)
    assert bulb.shown[1:] == [(0.0, pattern.steps[0][0])]


async def test_the_same_pattern_again_does_not_begin_it_again(player: LedPlayer, bulb: Bulb) -> None:
    player.show(NO_BACKEND)
    await asyncio.sleep(1)
    player.show(NO_BACKEND)
    await asyncio.sleep(2.5)
    assert bulb.shown == [(0.0, 1.0), (0.15, 0.0), (3.0, 1.0), (3.15, 0.0)]


async def test_another_pattern_begins_at_once(player: LedPlayer, bulb: Bulb) -> None:
    player.show(NO_BACKEND)
    await asyncio.sleep(1)
    player.show(LISTENING)
    await asyncio.sleep(10)
    assert bulb.shown == [(0.0, 1.0), (0.15, 0.0), (1.0, 1.0)]


async def test_a_loop_that_was_late_does_not_shift_the_rhythm(
    jumping_clock: clock.JumpingLoop, player: LedPlayer, bulb: Bulb
) -> None:
    player.show(WORKING)
    await asyncio.sleep(0.15)
    jumping_clock.block(0.08)
    await asyncio.sleep(0.1)
    assert [at for at, _ in bulb.shown] == [0.0, 0.1, 0.23, 0.3]


async def test_brightness_scales_every_pattern(player: LedPlayer, bulb: Bulb) -> None:
    level = 0.25
    player.replace(bulb, lambda: level)
    player.show(LISTENING)
    level = 0.5
    player.show(WORKING)
    await asyncio.sleep(0.15)
    assert bulb.shown == [(0.0, 0.25), (0.0, 0.5), (0.1, 0.0)]


async def test_an_led_with_colors_gets_that_of_the_pattern(player: LedPlayer, bulb: Bulb) -> None:
    player.replace(bulb, lambda: 0.5)
    player.show(LISTENING)
    player.show(READY)
    assert bulb.colors == [BLUE.dimmed(0.5), DARK]


async def test_a_moment_is_played_once_and_then_what_is(player: LedPlayer, bulb: Bulb) -> None:
    player.show(READY, once=DELIVERED)
    await asyncio.sleep(10)
    assert clock.timers() == 0
    assert bulb.shown == [(0.0, 0.0), (0.15, 1.0), (0.3, 0.0), (0.45, 1.0), (0.9, 0.0), (1.5, 0.0)]


async def test_what_can_wait_comes_after_the_moment_and_what_cannot_cuts_it_short(
    player: LedPlayer, bulb: Bulb
) -> None:
    player.show(READY, once=KEPT)
    await asyncio.sleep(0.5)
    player.show(NO_NETWORK, at_once=False)
    await asyncio.sleep(1.5)  # half a second of it
    player.show(READY, once=KEPT)
    await asyncio.sleep(0.5)
    player.show(LISTENING)
    await asyncio.sleep(10)
    moment = [(0.0, 0.0), (0.15, 1.0)]
    assert bulb.shown == [
        *moment, (0.6, 0.0), (0.75, 1.0), (0.9, 0.0), (1.5, 1.0), (1.95, 0.0),
        *[(2.0 + at, brightness) for at, brightness in moment], (2.5, 1.0),
    ]  # fmt: skip


async def test_the_pattern_that_was_shown_before_a_moment_comes_back_when_it_is_cut_short(
    player: LedPlayer, bulb: Bulb
) -> None:
    player.show(LISTENING, once=DELIVERED)
    await asyncio.sleep(0.1)
    player.show(LISTENING)
    await asyncio.sleep(10)
    assert bulb.shown == [(0.0, 0.0), (0.1, 1.0)]


async def test_another_led_goes_on_with_the_pattern_and_the_first_is_closed(player: LedPlayer, bulb: Bulb) -> None:
    other = Bulb()
    player.show(LISTENING)
    player.replace(other)
    assert bulb.closed == 1
    assert other.shown == [(0.0, 1.0)]


@pytest.mark.parametrize("pattern", ALL)
async def test_closed_it_is_dark_and_wakes_nobody_up(player: LedPlayer, bulb: Bulb, pattern: Pattern) -> None:
    player.show(pattern)
    player.close()
    assert clock.timers() == 0
    player.close()
    assert bulb.closed == 1


@pytest.mark.parametrize("error", [PanelError("gone"), OSError(5, "Input/output error"), ValueError()])
async def test_an_led_that_fails_is_told_once_closed_and_left_alone(
    player: LedPlayer, bulb: Bulb, failures: list[Exception], error: Exception
) -> None:
    player.show(WORKING)
    bulb.broken = error
    await asyncio.sleep(1)
    player.show(LISTENING)
    player.show(WORKING)
    await asyncio.sleep(1)
    player.close()
    assert failures == [error]
    assert bulb.closed == 1


async def test_after_a_failure_a_new_led_works(player: LedPlayer, bulb: Bulb) -> None:
    other = Bulb()
    bulb.broken = PanelError("gone")
    player.show(READY)
    player.replace(other)
    player.show(LISTENING)
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
