"""The inbox: order, waiting, and the faults that stand."""

import pytest

from flowpi.appliance.inbox import Inbox
from flowpi.core.events import Event, FaultCleared, FaultRaised, Started, StopCommanded
from tests.clock import JumpingLoop


class Handler:
    """Writes down events, and posts what `answers` says to each."""

    def __init__(self, inbox: Inbox) -> None:
        self.log: list[Event | str] = []
        self.at: list[float] = []
        self.answers: dict[Event, Event] = {}
        self.fails = False
        self._inbox = inbox

    def handle(self, event: Event, at: float) -> None:
        if self.fails:
            raise RuntimeError("a bug")
        self.log.append(event)
        self.at.append(at)
        if event in self.answers:
            self._inbox.post(self.answers[event])
            self._inbox.refresh()
            self.log.append("handled")

    def done(self) -> None:
        self.log.append("done")


async def test_what_is_posted_before_the_opening_waits_for_it(jumping_clock: JumpingLoop) -> None:
    inbox = Inbox()
    handler = Handler(inbox)
    inbox.raise_fault("spool", "no disk")
    inbox.post(Started(), 0.5)
    inbox.refresh()
    assert handler.log == []
    inbox.open(handler.handle, handler.done)
    assert handler.log == [FaultRaised("spool", "no disk"), Started(), "done"]
    assert handler.at == [0.0, 0.5]


async def test_an_event_that_an_event_causes_comes_after_it(jumping_clock: JumpingLoop) -> None:
    inbox = Inbox()
    handler = Handler(inbox)
    handler.answers = {Started(): StopCommanded()}
    inbox.open(handler.handle, handler.done)
    handler.log.clear()
    inbox.post(Started())
    assert handler.log == [Started(), "handled", StopCommanded(), "done"]


async def test_only_a_fault_that_stands_is_cleared(jumping_clock: JumpingLoop) -> None:
    inbox = Inbox()
    handler = Handler(inbox)
    inbox.open(handler.handle, handler.done)
    handler.log.clear()
    inbox.clear_fault("led")
    assert handler.log == []
    inbox.raise_fault("led", "gone")
    assert inbox.has_fault("led")
    inbox.clear_fault("led")
    assert not inbox.has_fault("led")
    assert handler.log == [FaultRaised("led", "gone"), "done", FaultCleared("led"), "done"]


async def test_a_handler_that_fails_blocks_nothing(jumping_clock: JumpingLoop) -> None:
    inbox = Inbox()
    handler = Handler(inbox)
    inbox.open(handler.handle, handler.done)
    handler.fails = True
    with pytest.raises(RuntimeError):
        inbox.post(Started())
    handler.fails = False
    inbox.post(StopCommanded())
    assert handler.log[-2:] == [StopCommanded(), "done"]
