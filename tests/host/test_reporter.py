import logging
import socket

import pytest

from flowpi.core.appliance import Finishing, Grip, Idle, Recording
from flowpi.core.faults import Fault
from flowpi.host.logfields import MessageId
from flowpi.host.reporter import Reporter
from flowpi.host.systemd import Notifier

SILENT = Fault("silence", "the microphone gives digital silence", 0)


def test_the_last_dictation_is_known_when_its_recording_ends(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    reporter = Reporter(notifier)
    recording = Recording(0, utterance="A", grip=Grip.HELD, deadline=1)
    for state in (Idle(0), recording, Finishing(0, utterance="A", deadline=1), Idle(0)):
        reporter.show(state, 0)
    notifier.close()
    said = [manager.recv(1000).decode() for _ in range(4)]
    assert said[0] == "STATUS=ready; no dictation since the start"
    assert said[1] == "STATUS=recording; no dictation since the start"
    assert said[2].startswith("STATUS=recorded, waiting for the text; last dictation 2")
    assert said[3].startswith("STATUS=ready; last dictation 2")


def test_a_fault_is_told_when_it_comes_and_when_it_goes(caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter(Notifier({}))
    caplog.set_level(logging.INFO)
    for state in (Idle(0), Idle(0, (SILENT,)), Idle(1, (SILENT,)), Idle(2)):
        reporter.show(state, 0)
    told = [(record.levelname, record.getMessage(), vars(record)["journal"]) for record in caplog.records]
    about = {"FAULT": "silence", "STATE": "idle"}
    assert told == [
        ("WARNING", "fault: silence", {"MESSAGE_ID": MessageId.FAULT_RAISED.value, **about}),
        ("INFO", "fault over: silence", {"MESSAGE_ID": MessageId.FAULT_CLEARED.value, **about}),
    ]
