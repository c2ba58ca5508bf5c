"""P20 and P23: what goes wrong between this machine and the service, in networks made for it."""

from typing import Any

import pytest

from tests.backends.network import alone

UNKNOWN = "its name has no address"
NO_SERVER = "no name server answers"


@pytest.mark.parametrize(
    ("scenario", "error", "reason"),
    [
        ("no_such_name", "NotResolved", UNKNOWN),
        ("name_server_fails", "NotResolved", NO_SERVER),
        ("wrong_address", "NotReached", "connection refused"),
        ("no_route", "NotReached", "network is unreachable"),
    ],
)
def test_the_part_that_failed_is_named(scenario: str, error: str, reason: str) -> None:
    outcome = alone(scenario)
    assert outcome["error"] == error
    assert outcome["message"].startswith(f"backend 'house' is not reached ({reason}): check the network")


def test_a_name_server_that_does_not_answer_holds_nothing_up() -> None:
    outcome = alone("name_server_is_mute")
    assert outcome["asked"]
    assert outcome["error"] == "LinkError"
    assert "no answer in time" in outcome["message"]
    assert outcome["ticks"] > 20  # of 100 in the second that it waited


def test_an_address_that_leads_nowhere_costs_less_than_a_second() -> None:
    outcome = alone("version_6_leads_nowhere")
    assert outcome["text"] == "It was the best of times."
    assert 0.2 < outcome["took_s"] < 1.0


@pytest.mark.parametrize("scenario", ["dead_while_speaking", "dead_while_waiting"])
def test_a_dead_link_is_known_within_8_s(scenario: str) -> None:
    outcome: dict[str, Any] = alone(scenario)
    assert outcome["error"] == "ClosedError"
    assert 4.0 < outcome["noticed_s"] < 8.0
