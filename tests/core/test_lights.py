"""The patterns of the LED can be told apart."""

from itertools import combinations, product

import pytest

from flowpi.core.lights import (
    ALL,
    DARK,
    DELIVERED,
    LISTENING,
    MOMENTS,
    NO_MICROPHONE,
    READY,
    SHUTTING_DOWN,
    STARTING,
    WORKING,
    Color,
    Pattern,
    drawing,
)

STEP_S = 0.01
SEEN_S = 3.0
JITTER_S = 0.1
"""The error of a duration between two edges, each of which may be 50 ms late on a busy Pi."""

WELL = (STARTING, READY, LISTENING, WORKING, SHUTTING_DOWN, DELIVERED)

BLIND = {
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""Matrices from linear RGB to what colour-blind people see: Machado, Oliveira, Fernandes 2009, severity 1.0."""


def seen(pattern: Pattern) -> list[int]:
    """Return whether the LED is lit at each `STEP_S` from the beginning on. After a moment it is dark, as in READY."""
    steps = [int(level > 0) for level, seconds in pattern.steps for _ in range(round(seconds / STEP_S))]
    wanted = round(SEEN_S / STEP_S)
    if pattern in MOMENTS:
        return (steps + [0] * wanted)[:wanted]
    return (steps * wanted)[:wanted]


@pytest.mark.parametrize(("one", "other"), list(combinations(ALL, 2)), ids=lambda pattern: pattern.name)
def test_no_two_patterns_look_the_same_within_three_seconds(one: Pattern, other: Pattern) -> None:
    """They differ whenever the user begins to look."""
    shown, looked_at = seen(one), seen(other)
    shifted = (looked_at[at:] + looked_at[:at] for at in range(len(looked_at)))
    differing = min(sum(a != b for a, b in zip(shown, other, strict=True)) for other in shifted)
    assert differing * STEP_S > JITTER_S


def test_a_drawing_is_what_the_led_does() -> None:
    assert drawing(READY) == "." * 60
    assert drawing(LISTENING) == "#" * 60
    assert drawing(NO_MICROPHONE) == "###...###" + "." * 31 + "###...###" + "." * 11
    assert drawing(DELIVERED) == "...###...#########" + "." * 42
    assert drawing(WORKING) == "##.." * 15


def test_names_are_told_apart_too() -> None:
    assert len({pattern.name for pattern in ALL}) == len(ALL) == 13
    assert all(pattern.meaning for pattern in ALL)


@pytest.mark.parametrize("pattern", ALL, ids=lambda pattern: pattern.name)
def test_a_rhythm_is_slow_enough_to_see_and_shows_itself_within_three_seconds(pattern: Pattern) -> None:
    assert all(seconds >= 0.1 for _, seconds in pattern.steps)
    assert sum(seconds for _, seconds in pattern.steps) == pytest.approx(
        1.5 if pattern in MOMENTS else min(3.0, sum(seconds for _, seconds in pattern.steps))
    )


@pytest.mark.parametrize("pattern", MOMENTS, ids=lambda pattern: pattern.name)
def test_a_moment_is_apart_from_what_is_shown_before_and_after(pattern: Pattern) -> None:
    """Otherwise "kept" and then "no network" would be a long, a short and a long flash, as in "configuration"."""
    assert pattern.steps[0][0] == pattern.steps[-1][0] == 0.0
    within_s = max(seconds for level, seconds in pattern.steps[1:-1] if level == 0.0)
    assert pattern.steps[-1][1] > 3 * within_s


def test_what_is_shown_for_long_is_steady() -> None:
    assert len(READY.steps) == len(LISTENING.steps) == 1


def test_a_color_is_as_bright_as_its_brightest_part() -> None:
    for pattern in ALL:
        assert pattern.color.brightness == 1.0
        assert pattern.color.dimmed(0.25).brightness == 0.25
    assert DARK.brightness == 0.0


@pytest.mark.parametrize("eye", BLIND)
def test_good_and_bad_news_have_colors_that_no_eye_takes_for_each_other(eye: str) -> None:
    def left(color: Color) -> list[float]:
        parts = (color.red, color.green, color.blue)
        return [sum(weight * part for weight, part in zip(row, parts, strict=True)) for row in BLIND[eye]]

    bad = [pattern for pattern in ALL if pattern not in WELL]
    for one, other in product(WELL, bad):
        distance = max(abs(a - b) for a, b in zip(left(one.color), left(other.color), strict=True))
        assert distance > 0.5, f"{one.name} and {other.name}"
