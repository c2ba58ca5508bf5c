"""Promise P35: a day with faults of all kinds in some twenty minutes, or a few minutes of it in seconds."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.reliability.soak import FASTER, SETTLE_S
from tests.rig.netem import alone

DAY_S = 86_400
ROUND_S = 1200
UNIT = Path(__file__).parents[2] / "systemd" / "flowpi.service"


@pytest.mark.promise("P35")
@pytest.mark.lengthy
def test_a_day_of_faults_leaks_nothing_and_loses_nothing(
    times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    round_s = times(120, ROUND_S)
    rounds = times(2, DAY_S // ROUND_S)
    allocator = dict(re.findall(r"^Environment=(MALLOC_\w+)=(\S+)$", UNIT.read_text(), re.MULTILINE))
    assert allocator
    timeout_s = 120 + rounds * (SETTLE_S + 4 * round_s) / FASTER
    found = alone("tests.reliability.soak", str(rounds), str(round_s), timeout_s=timeout_s, environ=allocator)
    assert (found["lost"], found["twice"], found["wrong"]) == ([], [], [])
    assert found["stood_still"] <= found["dictations"] / times(1, 4)
    assert found["texts"] == found["dictations"] >= times(5, 15_000)
    assert len(found["faults"]) == 7
    samples = found["samples"]
    assert max(sample["rss_mib"] for sample in samples) < 120
    first, last = samples[0], samples[-1]
    for name in ("descriptors", "tasks"):
        assert first[name] == last[name], samples
    assert last["threads"] <= first["threads"] + 2  # the pool grows to the largest number that was ever needed at once
    day = [sample["day"] for sample in samples[rounds // 2 :]]
    rss_mib = [sample["rss_mib"] for sample in samples[rounds // 2 :]]
    slope = float(np.polyfit(day, rss_mib, 1)[0]) if rounds > 2 else 0.0
    assert slope < 1.0, samples
    measured(
        simulated_hours=round(last["day"] * 24, 1),
        dictations=found["dictations"],
        faults=sum(found["faults"].values()),
        lost=0,
        twice=0,
        late=found["late"],
        not_looked_into_as_the_machine_stood_still=found["stood_still"],
        cut_short_by_the_microphone=found["cut_short"],
        mib_a_day=round(slope, 2),
        mib_at_the_end=round(last["rss_mib"], 1),
        descriptors=f"{first['descriptors']:g} and {last['descriptors']:g}",
        tasks=f"{first['tasks']:g} and {last['tasks']:g}",
        threads=f"{first['threads']:g} and {last['threads']:g}",
    )
