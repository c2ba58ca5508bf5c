"""The brightness that the eye sees: the part of the time in which an LED is lit."""

import asyncio
from collections.abc import Callable

import pytest

from flowpi.panel.dimming import PERIOD_S, Dimmer
from tests import clock

LEVELS = [0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99]


class Lamp:
    """An LED that records when it changes. `late_s`: for how long the loop is held up at each change."""

    def __init__(self, loop: clock.JumpingLoop, late_s: float = 0.0) -> None:
        self._loop = loop
        self._late_s = late_s
        self.broken = False
        self.changes: list[tuple[float, bool]] = []
        self.dimmer = Dimmer(self._switch, self._wait)

    def _switch(self, lit: bool) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        self.changes.append((self._loop.time(), lit))

    def _wait(self, seconds: float) -> None:
        assert 0.0 <= seconds <= 0.001
        self._loop.block(seconds + self._late_s)

    @property
    def is_lit(self) -> bool:
        return self.changes[-1][1]

    def brightness(self, since: float = 0.0) -> float:
        """Return the lit part of the time from `since` until now."""
        now, total_s = self._loop.time(), 0.0
        ends = [at for at, _ in self.changes[1:]] + [now]
        for (began, lit), ended in zip(self.changes, ends, strict=True):
            total_s += lit * max(0.0, ended - max(began, since))
        return total_s / (now - since)


@pytest.mark.parametrize("level", LEVELS)
async def test_the_mean_brightness_is_the_one_that_is_wanted(jumping_clock: clock.JumpingLoop, level: float) -> None:
    lamp = Lamp(jumping_clock)
    lamp.dimmer.set(level)
    await asyncio.sleep(1)
    assert lamp.brightness() == pytest.approx(level, abs=0.001)
    lamp.dimmer.stop()


@pytest.mark.parametrize("level", LEVELS)
async def test_so_it_is_on_a_machine_that_is_always_late(jumping_clock: clock.JumpingLoop, level: float) -> None:
    lamp = Lamp(jumping_clock, late_s=0.0004)
    lamp.dimmer.set(level)
    for _ in range(1000):  # somebody else's work, which holds the timers up
        await asyncio.sleep(0.0013)
        jumping_clock.block(0.0004)
    assert lamp.brightness() == pytest.approx(level, abs=0.03)
    lamp.dimmer.stop()


@pytest.mark.parametrize("level", LEVELS)
async def test_it_wakes_the_loop_as_seldom_as_the_eye_allows(jumping_clock: clock.JumpingLoop, level: float) -> None:
    lamp = Lamp(jumping_clock)
    lamp.dimmer.set(level)
    await asyncio.sleep(1)
    times = sorted({round(at / PERIOD_S) for at, _ in lamp.changes[::2]})
    assert len(times) == len(lamp.changes[::2]) <= 101
    lamp.dimmer.stop()


async def test_the_parts_of_a_color_begin_together(jumping_clock: clock.JumpingLoop) -> None:
    lamps = [Lamp(jumping_clock) for _ in range(3)]
    for lamp, level in zip(lamps, (0.2, 0.3, 0.8), strict=True):
        await asyncio.sleep(0.0021)
        lamp.dimmer.set(level)
    await asyncio.sleep(1)
    begins = [{round(at, 6) for at, _ in lamp.changes[2::2]} for lamp in lamps]
    assert len(begins[0] | begins[1] | begins[2]) <= 100
    for lamp in lamps:
        lamp.dimmer.stop()


@pytest.mark.parametrize("level", [0.0, 1.0])
async def test_dark_or_fully_lit_it_has_no_timer(jumping_clock: clock.JumpingLoop, level: float) -> None:
    lamp = Lamp(jumping_clock)
    lamp.dimmer.set(0.3)
    assert clock.timers() == 1
    lamp.dimmer.set(level)
    assert clock.timers() == 0
    await asyncio.sleep(1)
    assert lamp.is_lit == bool(level)
    lamp.dimmer.stop()
    assert lamp.is_lit == bool(level)


@pytest.mark.parametrize("level", [0.05, 0.3, 0.7])
async def test_a_stall_is_not_made_up_for_by_what_looks_like_a_pattern(
    jumping_clock: clock.JumpingLoop, level: float
) -> None:
    lamp = Lamp(jumping_clock)
    lamp.dimmer.set(level)
    await asyncio.sleep(0.0995 if level < 0.5 else 0.105)
    jumping_clock.block(2.0)
    await asyncio.sleep(2 * PERIOD_S)
    since = jumping_clock.time()
    await asyncio.sleep(1)
    assert lamp.brightness(since) == pytest.approx(level, abs=0.02)
    lamp.dimmer.stop()


async def at_once(lamp: Lamp) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        lamp.dimmer.set(0.3)


async def later(lamp: Lamp) -> None:
    lamp.broken = False
    lamp.dimmer.set(0.3)
    lamp.broken = True
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    await asyncio.sleep(1)
    assert [str(error) for error in told] == ["[Errno 5] Input/output error"]


@pytest.mark.parametrize("fails", [at_once, later])
async def test_an_led_that_fails_is_dimmed_no_longer(
    jumping_clock: clock.JumpingLoop, fails: Callable[[Lamp], object]
) -> None:
    lamp = Lamp(jumping_clock)
    lamp.broken = True
    await fails(lamp)  # type: ignore[misc]
    assert clock.timers() == 0
