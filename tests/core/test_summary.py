import pytest

from flowpi.core.appliance import Finishing, Grip, Idle, Recording, Starting, State
from flowpi.core.faults import BACKEND, QUARANTINE, REFUSED, Fault
from flowpi.core.summary import summary

WHEN = "2026-11-21 14:03"
UNPLUGGED = Fault("microphone", "no sound from 'default' (No such device): plug the microphone in", 3)
OFFLINE = Fault(BACKEND, "backend 'cloud' is not reached (network is unreachable)", 1)
ASIDE = Fault(QUARANTINE, "a file of the spool cannot be read: see `flowpi spool list`", 0)
KEY = Fault(REFUSED, OFFLINE.message, 1)


@pytest.mark.parametrize(
    ("state", "spooled", "last", "line"),
    [
        (Starting(0, deadline=30), 0, None, "starting; no dictation since the start"),
        (Idle(0), 0, None, "ready; no dictation since the start"),
        (Idle(0), 0, WHEN, "ready; last dictation 2026-11-21 14:03"),
        (
            Recording(0, utterance="A", grip=Grip.HELD, deadline=1),
            0,
            WHEN,
            "recording; last dictation 2026-11-21 14:03",
        ),
        (
            Finishing(0, utterance="A", deadline=1),
            0,
            WHEN,
            "recorded, waiting for the text; last dictation 2026-11-21 14:03",
        ),
        (
            Idle(0, (OFFLINE,)),
            2,
            WHEN,
            "ready; last dictation 2026-11-21 14:03; 2 kept for later; "
            "backend 'cloud' is not reached (network is unreachable)",
        ),
        (
            Idle(0, (ASIDE, OFFLINE, UNPLUGGED)),
            1,
            WHEN,
            "not ready; last dictation 2026-11-21 14:03; 1 kept for later; no sound from 'default' (No such device): "
            "plug the microphone in; 2 more faults: see `flowpi status`",
        ),
        (
            Idle(0, (OFFLINE, UNPLUGGED, Fault("muted", "muted by a long press", 9))),
            0,
            WHEN,
            "muted; last dictation 2026-11-21 14:03; muted by a long press; 2 more faults: see `flowpi status`",
        ),
        (
            Idle(0, (ASIDE, OFFLINE, KEY)),
            0,
            WHEN,
            "ready; last dictation 2026-11-21 14:03; backend 'cloud' is not reached (network is unreachable); "
            "1 more fault: see `flowpi status`",
        ),
    ],
)
def test_one_line_for_a_person(state: State, spooled: int, last: str | None, line: str) -> None:
    assert summary(state, spooled, last) == line
