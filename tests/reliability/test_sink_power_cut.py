from collections.abc import Callable
from typing import Any

import pytest

from tests.reliability import sink_power_cut
from tests.rig.disks import alone

Measured = Callable[..., None]
Times = Callable[[int, int], int]


def cuts(number: int, how: str) -> dict[str, Any]:
    cost: dict[str, Any] = alone(sink_power_cut.__name__, "cuts", 16, number, how, timeout_s=1800)
    assert cost["cuts"] == number
    return cost


@pytest.mark.promise("P41")
def test_a_power_cut_costs_no_sink_a_text(times: Times, measured: Measured) -> None:
    """At any moment, on a real ext4: of transcripts, position and parked texts together."""
    cost = cuts(times(40, 500), "careful")
    measured(**cost)
    assert cost == {**cost, "lost": 0, "again": 0, "disordered": 0, "refused": 0}
    assert cost["parked"] > 0


@pytest.mark.promise("P41")
@pytest.mark.parametrize("how", ["early", "fsync"])
def test_with_the_position_first_or_without_syncs_it_would(how: str, times: Times, measured: Measured) -> None:
    """The rig finds the losses where the position is written before the sink has the text, or a sync does nothing."""
    cost = cuts(times(20, 60), how)
    measured(how=how, **cost)
    assert cost["lost"] > 0
