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
    """At any moment, on a real ext4: what was still being recorded lacks at most its last second, and is marked."""
    cost = cuts(times(60, 500))
    measured(**cost)
    assert cost == {**cost, "lost": 0, "short": 0, "wrong": 0, "twice": 0, "refused": 0}


@pytest.mark.promise("P1")
@pytest.mark.parametrize("without", ["fdatasync", "fsync"])
def test_without_its_syncs_it_would(without: str, times: Times, measured: Measured) -> None:
    """The rig finds the losses of a spool whose sync does nothing, and of transcripts whose sync does nothing."""
    cost = cuts(times(10, 60), without)
    measured(without=without, **cost)
    assert cost["lost"] > 0


@pytest.mark.promise("P39")
def test_what_a_minute_of_speech_writes_to_the_card(measured: Measured) -> None:
    """This includes what the filesystem adds at each sync: its journal with the new length of the file."""
    cost: dict[str, Any] = alone(power_cut.__name__, "wear", 60)
    measured(**cost)
    assert cost["times_the_audio"] < 1.5
