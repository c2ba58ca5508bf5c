"""On a real FAT partition: what is left of a secret, and of a configuration, when the power goes."""

from collections.abc import Callable

import msgspec
import pytest

from tests.provision import sd_card
from tests.provision.sd_card import Boot
from tests.rig.disks import alone


def cuts(number: int, without: str = "nothing") -> list[Boot]:
    found = msgspec.convert(alone(sd_card.__name__, "cuts", number, without, timeout_s=1800), list[Boot])
    assert len(found) == number
    return found


def is_well(boot: Boot) -> bool:
    return boot.state in ("old", "new") and boot.whole and boot.after == "new" and not boot.secret


@pytest.mark.lengthy
def test_a_power_cut_leaves_one_configuration_and_no_secret(times: Callable[[int, int], int]) -> None:
    """After a cut at any moment the next start has the new one, and no byte of a secret on the FAT partition."""
    found = cuts(times(12, 300))
    assert [boot for boot in found if not is_well(boot)] == []
    assert {"old", "new"} == {boot.state for boot in found}


@pytest.mark.lengthy
def test_without_its_syncs_it_would() -> None:
    """The rig detects a provision whose syncs do nothing."""
    found = cuts(12, "fsync")
    assert any(boot.secret for boot in found)
    assert any(not boot.whole for boot in found)
