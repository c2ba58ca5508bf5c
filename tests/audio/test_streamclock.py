"""The stream clock against simulated devices: crystals that are off, reads at any time, any period."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.streamclock import StreamClock
from flowpi.dsp.format import RATE_HZ

pauses = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60)


class Device:
    """A device that captures since `began`, at a rate that is `ppm` off, and delivers whole periods only."""

    def __init__(self, began: float, ppm: float, period: int) -> None:
        self.began, self.rate, self.period, self.given = began, RATE_HZ * (1 + ppm / 1e6), period, 0

    def complete(self, now: float) -> int:
        frames = int((now - self.began) * self.rate)
        return frames - frames % self.period


@given(pauses, st.floats(-300, 300), st.integers(80, 1600))
def test_a_gap_is_as_long_as_nobody_read_even_if_the_crystal_is_off(
    reads: list[float], ppm: float, period: int
) -> None:
    device, clock, now = Device(100.0, ppm, period), StreamClock(100.0, RATE_HZ, period / RATE_HZ), 100.0
    for pause in reads:
        now += pause
        clock.frames = device.complete(now)
        clock.drained(now, now)
    passed = (now + 5.0 - device.began) * device.rate
    before = clock.frames
    lost = clock.lost(now + 5.0)
    assert before + lost == clock.frames
    assert clock.frames == pytest.approx(passed, abs=period + 6 * RATE_HZ * 300 / 1e6)


def test_an_hour_with_a_bad_crystal_does_not_add_up() -> None:
    device, clock = Device(0.0, 200, 320), StreamClock(0.0, RATE_HZ, 0.02)
    for tenth in range(1, 36_000):
        clock.frames = device.complete(tenth / 10)
        clock.drained(tenth / 10, tenth / 10)
    assert clock.lost(3601.0) == pytest.approx(1.1 * RATE_HZ, abs=2 * 320)


@given(pauses)
def test_gaps_do_not_add_up(stalls: list[float]) -> None:
    clock, now = StreamClock(50.0, RATE_HZ, 0.02), 50.0
    for stall in stalls:
        now += stall
        clock.lost(now)
        clock.drained(now, now)
    assert clock.frames == pytest.approx((now - 50.0) * RATE_HZ, abs=1)


@given(pauses, st.floats(0, 3))
def test_the_next_edge_is_the_first_not_before_the_moment(reads: list[float], ahead: float) -> None:
    device, clock, now = Device(0.0, 0, 320), StreamClock(0.0, RATE_HZ, 0.02), 0.0
    for pause in reads:
        now += pause
        clock.frames = device.complete(now)
        clock.drained(now, now)
    edge = clock.next_edge(now + ahead)
    assert now + ahead - 1e-9 <= edge <= now + ahead + 0.02 + 1e-4
    assert device.complete(edge + 1e-4) > clock.frames


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0, 0.1)), min_size=1, max_size=60))
def test_a_machine_that_stalls_in_a_read_does_not_move_the_edges(reads: list[tuple[float, float]]) -> None:
    device, clock, now = Device(0.0, 0, 320), StreamClock(0.0, RATE_HZ, 0.02), 0.0
    for pause, stall in reads:
        began, now = now + pause, now + pause + stall
        clock.frames = device.complete(now)
        clock.drained(began, now)
    assert device.complete(clock.next_edge(now) + 1e-4) > clock.frames


def test_an_estimate_that_is_too_early_is_mended_by_the_reads_that_find_nothing() -> None:
    device, clock = Device(10.0, 0, 320), StreamClock(9.985, RATE_HZ, 0.02)
    found, now = [], 10.0
    for _ in range(20):
        now = clock.next_edge(now) + 0.003
        found.append(device.complete(now) > clock.frames)
        clock.frames = device.complete(now)
        clock.drained(now, now)
    assert all(found[5:])


def test_a_device_ahead_of_real_time_shows() -> None:
    clock = StreamClock(0.0, RATE_HZ, 0.02)
    clock.frames = 3 * RATE_HZ
    clock.drained(1.0, 1.0)
    assert clock.ahead_s(1.0) == pytest.approx(2.0)
