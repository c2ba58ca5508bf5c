"""The user-space network applies its conditions: otherwise measurements on it would mean nothing."""

import json
from typing import Any

from tests.rig.netem import alone
from tests.rig.network_control import SENT

ALL = list(range(SENT))


def under(**conditions: Any) -> Any:
    return alone("tests.rig.network_control", json.dumps(conditions), timeout_s=60)


def test_without_faults_all_goes_through_in_order(slack_s: float) -> None:
    found = under()
    assert found["came"] == ALL
    assert (found["carried"], found["lost"]) == (2 * SENT, 0)
    assert found["away_s"] < 0.1 + slack_s


def test_delay_holds_each_packet_in_each_direction(slack_s: float) -> None:
    found = under(delay_s=0.1)
    assert found["came"] == ALL
    assert 0.2 <= found["away_s"] < 0.4 + slack_s


def test_loss_takes_its_share_of_both_directions() -> None:
    found = under(loss=0.2)
    assert 0.4 * SENT < len(found["came"]) < 0.85 * SENT  # 0.64 on average
    assert found["came"] == sorted(found["came"])
    assert found["lost"] == SENT - len(found["came"])


def test_duplicates_and_overtaking_are_made() -> None:
    found = under(duplicate=0.3, reorder=0.3, delay_s=0.05)
    assert set(found["came"]) == set(ALL)
    assert len(found["came"]) > 1.3 * SENT
    assert found["came"] != sorted(found["came"])


def test_a_rate_makes_the_last_one_wait_for_all_before_it() -> None:
    found = under(rate_bytes_s=100_000.0)
    assert found["came"] == ALL
    assert 1.5 < found["took_s"] < 5  # 300 of 528 bytes with their headers


def test_each_direction_is_cut_by_itself() -> None:
    there = under(to_far=False)
    assert (there["came"], there["carried"], there["lost"]) == ([], 0, SENT)
    back = under(to_near=False)
    assert (back["came"], back["carried"], back["lost"]) == ([], SENT, SENT)
