"""The whole appliance on bad networks: promises P4, P19 and P20 over real sockets, in networks made for them."""

import json
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from tests.rig.netem import alone

Times = Callable[[int, int], int]
Measured = Callable[..., None]

PROBLEMS = ("lost", "twice", "unknown", "wrong", "out_of_order")
"""The members of a place's account that must be empty on any network."""


def on(scenario: str, *arguments: float, timeout_s: float = 120.0) -> list[dict[str, Any]]:
    """Run a scenario, check that no dictation has a problem, and return the outcome of each place."""
    found: list[dict[str, Any]]
    found = alone("tests.reliability.network", scenario, *map(json.dumps, arguments), timeout_s=timeout_s)
    problems = [(name, place[name]) for place in found for name in PROBLEMS if place[name]]
    assert problems == []
    return found


@pytest.mark.promise("P19")
@pytest.mark.lengthy
def test_a_network_that_comes_and_goes_costs_no_word(times: Times, measured: Measured) -> None:
    places, flaps = times(1, 4), times(6, 75)
    shortest_s, longest_s = (0.1, 0.6) if flaps == 6 else (0.2, 20.0)
    found = on("flaps", places, flaps, shortest_s, longest_s, timeout_s=1800)
    dictations, while_up, while_down = (
        sum(place[name] for place in found) for name in ("dictations", "while_up", "while_down")
    )
    assert dictations >= 3
    assert min(place["late"] for place in found) >= 1
    back_s = [seconds for place in found for seconds in place["back_s"]]
    if flaps > 6:
        assert min(while_up, while_down) >= 10
        assert statistics.median(back_s) < 1.5
    measured(
        flaps=places * flaps,
        dictations_begun_with_a_network=while_up,
        without=while_down,
        lost=0,
        twice=0,
        out_of_order=0,
        late=sum(place["late"] for place in found),
        of_these_passed_over_for_want_of_a_text=sum(place["passed_over"] for place in found),
        first_text_after_the_network_median_s=statistics.median(back_s) if back_s else "none waited",
    )


@pytest.mark.promise("P20")
@pytest.mark.lengthy
def test_a_silent_link_is_noticed_and_all_of_the_audio_sent_again(times: Times, measured: Measured) -> None:
    found = on("silences", times(4, 8), times(1, 17), timeout_s=900)
    cut_s = [seconds for place in found for seconds in place["cut_s"]]
    stopped_s = [seconds for place in found for seconds in place["stopped_s"]]
    assert (len(cut_s), len(stopped_s)) == (times(3, 102), times(1, 34))
    assert max(cut_s) < 8
    assert max(stopped_s) < 8  # 3 s for the text, as configured there, and 2 s for the close handshake
    measured(
        links_cut=len(cut_s),
        noticed_at_most_s=max(cut_s),
        servers_stopped=len(stopped_s),
        given_up_at_most_s=max(stopped_s),
        with_a_deadline_of_s=3,
        lost=0,
        gaps_in_the_audio=0,
    )


@pytest.mark.promise("P4")
@pytest.mark.lengthy
def test_without_a_network_all_is_kept_and_comes_later_in_order(times: Times, measured: Measured) -> None:
    waiting, live = times(5, 100), times(2, 15)
    (found,) = on("offline", waiting, live, timeout_s=600)
    assert found["told"] == [["idle", number + 1, ["network"]] for number in range(waiting)]
    long_s, short_s, network_s = found["flashes_s"][-3:]  # "kept" once, and then "no network"
    assert long_s > 2 * short_s
    assert network_s > 2 * short_s
    assert found["late"] == waiting
    assert found["while_draining"] >= 1
    difference_ms = found["draining_ms"] - found["alone_ms"]
    assert difference_ms < 100
    measured(
        kept_over_a_real_network=waiting,
        lost=0,
        out_of_order=0,
        first_packet_alone_ms=round(found["alone_ms"]),
        while_the_backlog_drains_ms=round(found["draining_ms"]),
    )
