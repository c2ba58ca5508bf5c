from collections.abc import Callable
from typing import Any

import pytest

from tests.reliability import power_cut
from tests.rig.disks import alone

Measured = Callable[..., None]
Times = Callable[[int, int], int]


def cuts(number: int, without: str = "nothing") -> dict[str, Any]:
    cost: dict[str, Any] = alone(power_cut.__name__, "cuts", 7, number, without, timeout_s=1800)
    assert cost["cuts"] == number
    return cost


@pytest.mark.promise("P1", "P5")
def test_a_power_cut_costs_no_recorded_word(times: Times, measured: Measured) -> None:
    """Of a real ext4, at any moment; what is not recorded yet lacks at most its last second, and says so."""
    cost = cuts(times(60, 500))
    measured(**cost)
    assert cost == {**cost, "lost": 0, "short": 0, "wrong": 0, "twice": 0, "refused": 0}


@pytest.mark.promise("P1")
@pytest.mark.parametrize("without", ["fdatasync", "fsync"])
def test_without_its_syncs_it_would(without: str, times: Times, measured: Measured) -> None:
    """The rig condemns a spool whose sync does nothing, and transcripts whose sync does nothing."""
    cost = cuts(times(10, 60), without)
    measured(without=without, **cost)
    assert cost["lost"] > 0


@pytest.mark.promise("P39")
def test_what_a_minute_of_speech_writes_to_the_card(measured: Measured) -> None:
    """With all that the file system adds: at each sync its journal of how long the file is now."""
    cost: dict[str, Any] = alone(power_cut.__name__, "wear", 60)
    measured(**cost)
    assert cost["times_the_audio"] < 1.5
