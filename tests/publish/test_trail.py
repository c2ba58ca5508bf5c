"""The trail of a position: how far back it leads, and what it costs the disk."""

from pathlib import Path

import pytest

from flowpi.core.retention import DAY_S
from flowpi.publish.messages import TextId
from flowpi.publish.trail import STEP_S, Trail
from tests.publish.test_files import NOON, final

FILE, OTHER = "2023-11-14.jsonl", "2023-11-15.jsonl"


def text(number: int) -> TextId:
    return TextId(final(number).id, 1)


class Clock:
    def __init__(self) -> None:
        self.unix_s = NOON

    def __call__(self) -> float:
        return self.unix_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sinks/sink.trail"


@pytest.fixture
def trail(path: Path, clock: Clock) -> Trail:
    trail = Trail(path, clock)
    trail.begin()
    return trail


def walk(trail: Trail, clock: Clock, hours: int, name: str = FILE, first: int = 0) -> None:
    """Pass four texts an hour: the position is behind number `first` before it begins."""
    for number in range(first, first + 4 * hours):
        trail.leave(name, text(number) if number else None)
        clock.unix_s += STEP_S / 4


def test_it_leads_back_by_a_day_and_no_further(trail: Trail, clock: Clock) -> None:
    walk(trail, clock, 10)
    assert trail.start() == {FILE: None}
    walk(trail, clock, 30, first=40)
    start = trail.start()[FILE]
    assert start is not None
    assert 15 <= (160 - int(start.id[-6:])) / 4 <= 24 + 1


def test_a_weekend_without_power_shortens_nothing(trail: Trail, clock: Clock, path: Path) -> None:
    walk(trail, clock, 10)
    clock.unix_s += 3 * DAY_S
    again = Trail(path, clock)
    again.read()
    assert again.start() == trail.start() == {FILE: None}


def test_each_file_has_its_own(trail: Trail, clock: Clock) -> None:
    walk(trail, clock, 2)
    walk(trail, clock, 2, name=OTHER)
    walk(trail, clock, 21, name=OTHER, first=8)
    assert trail.start() == {FILE: text(4), OTHER: None}
    walk(trail, clock, 1, name=OTHER, first=92)
    assert trail.start() == {OTHER: None}


def test_a_restart_brings_no_step_back_that_ended(trail: Trail, clock: Clock, path: Path) -> None:
    trail.leave(FILE, None)
    clock.unix_s += DAY_S - STEP_S / 2
    trail.leave(OTHER, None)
    clock.unix_s += STEP_S * 3 / 4
    trail.leave(OTHER, text(5))  # a day after the other file, and in the same hour as the step before
    again = Trail(path, clock)
    again.read()
    assert again.start() == trail.start() == {OTHER: None}


def test_a_clock_that_is_set_back_ends_no_day_early(trail: Trail, clock: Clock) -> None:
    walk(trail, clock, 2)
    clock.unix_s -= 300 * DAY_S
    walk(trail, clock, 20, first=8)
    assert trail.start() == {FILE: None}
    walk(trail, clock, 10, first=88)
    assert trail.start()[FILE] is not None


def test_the_disk_is_written_once_an_hour(trail: Trail, clock: Clock, path: Path) -> None:
    written = set()
    for number in range(8):
        trail.leave(FILE, text(number))
        written.add(path.stat().st_ino)
        clock.unix_s += STEP_S / 4
    assert len(written) == 2
    assert path.stat().st_size < 300


def test_one_that_is_damaged_leads_nowhere(path: Path, trail: Trail, clock: Clock) -> None:
    walk(trail, clock, 2)
    path.write_bytes(path.read_bytes()[:-9])
    again = Trail(path, clock)
    again.read()
    assert (again.start(), again.shown) == ({}, False)
    again.begin()
    walk(again, clock, 1, first=8)
    assert again.start() == {FILE: text(8)}


def test_it_is_for_this_user_alone(trail: Trail, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_after_the_way_back_no_later_step_is_left(trail: Trail, clock: Clock) -> None:
    walk(trail, clock, 3)
    trail.shorten({FILE})
    assert trail.start() == {FILE: None}
    clock.unix_s += DAY_S - 2 * STEP_S
    trail.leave(FILE, text(2))
    assert trail.start() == {FILE: text(2)}  # and not 8, to which it has not come again
