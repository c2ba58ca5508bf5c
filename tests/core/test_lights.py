"""The LED's language."""

import pytest

from flowpi.core.appliance import MICROPHONE, Fault, Finishing, Grip, Idle, Recording, Starting
from flowpi.core.lights import (
    ALL,
    BACKEND,
    BUTTON,
    KEPT,
    LISTENING,
    NO_MICROPHONE,
    READY,
    STARTING,
    TROUBLE,
    WORKING,
    Pattern,
    light,
)


def test_no_two_patterns_share_a_rhythm() -> None:
    assert len({pattern.steps for pattern in ALL}) == len(ALL)
    assert len({pattern.name for pattern in ALL}) == len(ALL)


@pytest.mark.parametrize("pattern", ALL, ids=lambda pattern: pattern.name)
def test_a_rhythm_is_slow_enough_to_see_and_shows_itself_within_three_seconds(pattern: Pattern) -> None:
    assert all(seconds >= 0.1 for _, seconds in pattern.steps)
    assert sum(seconds for _, seconds in pattern.steps) <= 3.01


def test_what_is_shown_for_long_is_steady() -> None:
    assert len(READY.steps) == len(LISTENING.steps) == 1


def test_each_state_has_its_light() -> None:
    faults = (Fault(MICROPHONE, "gone", 0.0), Fault(BACKEND, "down", 0.0), Fault("disk", "full", 0.0))
    assert light(Starting(0.0, faults, deadline=1.0)) is STARTING
    assert light(Recording(0.0, faults, utterance="A", grip=Grip.HELD, deadline=1.0)) is LISTENING
    assert light(Finishing(0.0, faults, utterance="A", deadline=1.0)) is WORKING
    assert light(Idle(0.0)) is READY
    assert light(Idle(0.0, faults)) is NO_MICROPHONE
    assert light(Idle(0.0, faults[1:2])) is KEPT
    assert light(Idle(0.0, faults[1:])) is TROUBLE
    assert light(Idle(0.0, (Fault(BUTTON, "no such pin", 0.0),))) is READY
