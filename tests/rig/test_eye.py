"""The recognition of LED patterns: also with late changes, and without false positives."""

import random

import pytest

from flowpi.core.lights import (
    ALL,
    CONFIGURATION,
    LISTENING,
    MOMENTS,
    NO_BACKEND,
    NO_NETWORK,
    READY,
    SHUTTING_DOWN,
    STARTING,
    WHITE,
    WORKING,
    Pattern,
)
from tests.rig.eye import LOOK_S, may_be, moments, seen
from tests.rig.machine import Edge

GOES_ON = [pattern for pattern in ALL if pattern not in MOMENTS]
LATEST_S = 0.1
"""The largest delay of a change; most have half of it at most."""


def edges_of(*shown: tuple[Pattern, float], chance: random.Random) -> list[Edge]:
    """Return the edges of patterns, one after the other for a number of seconds, as a busy machine shows them."""
    edges, begun = [Edge(0.0, 0)], 0.0
    for pattern, seconds in shown:
        due = begun
        while due < begun + seconds:
            for level, step_s in pattern.steps:
                at = max(due + LATEST_S * chance.random() ** 2, edges[-1].at + 0.001)
                if due < begun + seconds and level != edges[-1].level:
                    edges.append(Edge(at, int(level)))
                due += step_s
        begun += seconds
    return edges


@pytest.mark.parametrize("pattern", GOES_ON, ids=lambda pattern: pattern.name)
def test_what_goes_on_is_seen_whenever_one_begins_to_look(pattern: Pattern) -> None:
    chance = random.Random(pattern.name)
    for _ in range(200):
        edges, since = edges_of((pattern, 12.0), chance=chance), 1.0 + 5 * chance.random()
        assert seen(edges, since, since + LOOK_S + 2 * chance.random()) is pattern, (since, edges)


@pytest.mark.parametrize("steps", [((1.0, 0.3), (0.0, 0.3)), ((1.0, 1.0), (0.0, 1.0)), ((1.0, 0.45), (0.0, 0.15)) * 3])
def test_what_is_not_in_the_table_is_nothing(steps: tuple[tuple[float, float], ...]) -> None:
    edges = edges_of((Pattern("other", steps, WHITE, ""), 12.0), chance=random.Random(0))
    assert seen(edges, 1.0, 1.0 + 2 * LOOK_S) is None


def test_a_change_from_one_to_the_other_is_neither() -> None:
    edges = edges_of((STARTING, 4.0), (WORKING, 8.0), chance=random.Random(0))
    assert seen(edges, 2.0, 2.0 + LOOK_S) is None


@pytest.mark.parametrize("pattern", [READY, LISTENING], ids=lambda pattern: pattern.name)
def test_what_is_steady_is_seen_between_others(pattern: Pattern) -> None:
    edges = edges_of((WORKING, 1.0), (pattern, 5.0), (NO_BACKEND, 6.0), chance=random.Random(0))
    assert seen(edges, 1.2, 1.2 + LOOK_S) is pattern


def test_a_short_look_at_what_is_steady_tells_nothing() -> None:
    assert seen([Edge(0.0, 1)], 1.0, LOOK_S) is None


def test_a_short_look_on_a_busy_machine_may_show_one_of_two() -> None:
    flips = (0.0, 0.417, 0.592, 0.839, 0.942, 1.334)
    edges = [Edge(1.0 + at, (number + 1) % 2) for number, at in enumerate(flips)]
    assert {pattern for pattern in GOES_ON if may_be(pattern, edges, 0.95, 2.28)} == {CONFIGURATION, SHUTTING_DOWN}


@pytest.mark.parametrize("before", [LISTENING, WORKING], ids=lambda pattern: pattern.name)
@pytest.mark.parametrize("after", [READY, NO_BACKEND, NO_NETWORK], ids=lambda pattern: pattern.name)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda pattern: pattern.name)
def test_what_comes_once_is_seen_between_what_goes_on(before: Pattern, moment: Pattern, after: Pattern) -> None:
    chance = random.Random(0)
    duration_s = sum(seconds for _, seconds in moment.steps)
    for _ in range(50):
        edges = edges_of((before, 5.0), (moment, duration_s), (after, 9.0), chance=chance)
        ((begun, found),) = moments(edges, 1.0)
        assert found is moment
        assert begun == pytest.approx(5.0, abs=2 * LATEST_S)


@pytest.mark.parametrize("pattern", [one for one in GOES_ON if one is not CONFIGURATION], ids=lambda one: one.name)
def test_nothing_that_goes_on_is_taken_for_what_comes_once(pattern: Pattern) -> None:
    chance = random.Random(pattern.name)
    for _ in range(50):
        assert moments(edges_of((pattern, 20.0), chance=chance), 0.5) == []
