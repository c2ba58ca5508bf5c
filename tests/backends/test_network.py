"""P20 and P23: what goes wrong between this machine and the service, in networks made for it."""

from typing import Any

import pytest

from tests.backends.network import LONG_SOUND, alone
from tests.sound import echo

UNKNOWN = "its name has no address"
NO_SERVER = "no name server answers"
DEAD = "the connection went dead before the text came"


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


def test_an_address_that_leads_nowhere_costs_a_fraction_of_the_patience() -> None:
    """A quarter of a second, and what a busy machine adds; an attempt at one address alone may last for ten."""
    outcome = alone("version_6_leads_nowhere")
    assert outcome["text"] == "It was the best of times."
    assert 0.2 < outcome["took_s"] < 8.0


@pytest.mark.parametrize("scenario", ["dead_while_speaking", "dead_while_waiting", "dead_while_the_reader_stops"])
def test_a_dead_link_is_known_within_8_s(scenario: str) -> None:
    outcome: dict[str, Any] = alone(scenario)
    assert outcome["error"] == "LinkLost"
    assert outcome["message"] == f"{DEAD} (nothing was acknowledged for 5 s): check the network"
    assert 4.0 < outcome["noticed_s"] < 8.0


def test_a_link_that_the_kernel_gives_up_is_not_called_closed_by_the_server() -> None:
    outcome = alone("kernel_gives_up_first")
    assert outcome["error"] == "LinkLost"
    assert outcome["message"] == f"{DEAD} (connection timed out): check the network"


def test_a_reader_that_stops_for_longer_than_that_is_alive() -> None:
    """Its window is closed, and its kernel answers every probe of it."""
    assert alone("reader_stops_for_a_while")["text"] == echo(LONG_SOUND)
