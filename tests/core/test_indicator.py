"""What the LED shows for each state and step."""

import pytest

from flowpi.core.appliance import Finishing, Grip, Idle, Recording, Starting, State
from flowpi.core.events import (
    CancelCommanded,
    DeadlinePassed,
    DeliveryDeferred,
    DeliveryGivenUp,
    Event,
    FaultRaised,
    TextDelivered,
)
from flowpi.core.faults import BACKEND, BOOT_FILE, BUTTON, MICROPHONE, MUTED, NETWORK, SPOOL, Fault
from flowpi.core.indicator import light, moment
from flowpi.core.lights import (
    CONFIGURATION,
    DELIVERED,
    KEPT,
    LISTENING,
    MUTED_LIGHT,
    NO_BACKEND,
    NO_MICROPHONE,
    NO_NETWORK,
    READY,
    SHUTTING_DOWN,
    STARTING,
    TROUBLE,
    WORKING,
    Pattern,
)


def test_each_state_has_its_light() -> None:
    network, backend = Fault(NETWORK, "gone", 0.0), Fault(BACKEND, "down", 0.0)
    faults = (Fault(MICROPHONE, "gone", 0.0), network, backend, Fault(SPOOL, "full", 0.0))
    assert light(Starting(0.0, faults, deadline=1.0)) is STARTING
    assert light(Recording(0.0, faults, utterance="A", grip=Grip.HELD, deadline=1.0)) is LISTENING
    assert light(Finishing(0.0, faults, utterance="A", deadline=1.0)) is WORKING
    assert light(Idle(0.0)) is READY
    assert light(Idle(0.0, (*faults, Fault(MUTED, "by hand", 0.0)))) is MUTED_LIGHT
    assert light(Idle(0.0, (*faults, Fault(BOOT_FILE, "bad", 0.0)))) is CONFIGURATION
    assert light(Idle(0.0, faults)) is NO_MICROPHONE
    assert light(Idle(0.0, faults[1:])) is TROUBLE
    assert light(Idle(0.0, (backend, network))) is NO_NETWORK
    assert light(Idle(0.0, (backend,))) is NO_BACKEND
    assert light(Idle(0.0, (Fault(BUTTON, "no such pin", 0.0),))) is READY
    for state in (Idle(0.0), Recording(0.0, utterance="A", grip=Grip.HELD, deadline=1.0)):
        assert light(state, stopping=True) is SHUTTING_DOWN


IDLE, FINISHING = Idle(1.0), Finishing(0.0, utterance="A", deadline=9.0)
RECORDING = Recording(0.0, utterance="A", grip=Grip.HELD, deadline=9.0)


@pytest.mark.parametrize(
    ("before", "event", "after", "shown"),
    [
        (FINISHING, TextDelivered("A"), IDLE, DELIVERED),
        (FINISHING, DeliveryDeferred("A"), IDLE, KEPT),
        (FINISHING, DeadlinePassed(), IDLE, KEPT),
        (FINISHING, DeliveryGivenUp("A"), IDLE, None),
        (FINISHING, CancelCommanded(), IDLE, None),
        (FINISHING, TextDelivered("of an older one"), FINISHING, None),
        (RECORDING, TextDelivered("of the one before"), RECORDING, None),
        (IDLE, TextDelivered("late"), IDLE, None),
        (IDLE, FaultRaised(BACKEND, "x"), IDLE, None),
        (Starting(0.0, deadline=1.0), DeadlinePassed(), IDLE, None),
    ],
)
def test_a_moment_belongs_to_the_one_that_was_awaited(
    before: State, event: Event, after: State, shown: Pattern | None
) -> None:
    assert moment(before, event, after) is shown
