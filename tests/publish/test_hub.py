import json
import math
from typing import Any

import pytest

from flowpi.publish.hub import Hub, Message


class Listener:
    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, bool]] = []

    def __call__(self, message: Message, retained: bool) -> None:
        self.heard.append((message.topic, message.payload, retained))


def test_who_subscribed_hears_and_nobody_else() -> None:
    hub, finals, everything = Hub(), Listener(), Listener()
    hub.subscribe(["transcript/final"], finals)
    hub.subscribe(["#"], everything)
    hub.publish("transcript/final", 1)
    hub.publish("transcript/partial", 2)
    assert finals.heard == [("transcript/final", 1, False)]
    assert everything.heard == [("transcript/final", 1, False), ("transcript/partial", 2, False)]


def test_two_filters_that_match_give_one_message() -> None:
    hub, listener = Hub(), Listener()
    hub.subscribe(["#", "level"], listener)
    hub.publish("level", 1)
    assert len(listener.heard) == 1


def test_who_comes_late_hears_the_last_of_what_is_retained() -> None:
    hub, listener = Hub(), Listener()
    for number in (1, 2):
        hub.publish("state", number)
        hub.publish("stats", number)
        hub.publish("transcript/final", number)
    hub.subscribe(["state", "transcript/#"], listener)
    assert listener.heard == [("state", 2, True)]


def test_who_left_hears_nothing_more_and_may_leave_again() -> None:
    hub, listener = Hub(), Listener()
    subscription = hub.subscribe(["#"], listener)
    subscription.close()
    subscription.close()
    hub.publish("state", 1)
    assert listener.heard == []


def test_a_listener_may_leave_while_it_hears() -> None:
    def leave(message: Message, retained: bool) -> None:
        subscription.close()

    hub, after = Hub(), Listener()
    subscription = hub.subscribe(["state"], leave)
    hub.subscribe(["state"], after)
    hub.publish("state", 1)
    hub.publish("state", 2)
    assert len(after.heard) == 2


def test_interest_is_told_at_each_change() -> None:
    hub = Hub()
    wanted: list[bool] = []
    hub.watch("level", wanted.append)
    one = hub.subscribe(["level"], Listener())
    other = hub.subscribe(["+"], Listener())
    one.close()
    other.close()
    other.close()
    assert wanted == [True, False]
    hub.subscribe(["level"], Listener())
    late: list[bool] = []
    hub.watch("level", late.append)
    assert late == [True]


def test_the_lines_of_the_socket() -> None:
    message = Message("state", {"text": "a\nb\u2028\x1b[31m"})
    for line, more in ((message.line, {}), (message.retained_line, {"retained": True})):
        assert json.loads(line) == {"topic": "state", "payload": message.payload, **more}
        assert line.count(b"\n") == 1
        assert line.endswith(b"\n")


def test_it_is_put_into_json_once() -> None:
    message = Message("state", [1])
    assert message.line is message.line


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_in_json_becomes_null(number: float) -> None:
    assert json.loads(Message("level", number).line)["payload"] is None


def test_who_comes_after_a_message_hears_the_next() -> None:
    hub, listener = Hub(), Listener()
    hub.publish("level", 1)
    hub.subscribe(["level"], listener)
    hub.publish("level", 2)
    assert listener.heard == [("level", 2, False)]


def test_a_subscriber_that_fails_hurts_no_other() -> None:
    hub, heard = Hub(), []

    def broken(message: Message, retained: bool) -> None:
        raise RuntimeError("a mistake")

    hub.subscribe(["#"], broken)
    hub.subscribe(["#"], lambda message, retained: heard.append(message.topic))
    hub.publish("state", 1)
    hub.publish("state", 2)
    assert heard == ["state", "state"]
