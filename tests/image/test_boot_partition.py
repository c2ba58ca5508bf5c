"""On a real FAT partition: what a Pi boots when the power goes while it is given another kernel."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.image import boot_partition
from tests.image.boot_partition import UPDATES, Cut
from tests.image.test_scripts import TREE, program
from tests.rig.disks import alone


def cuts(number: int, update: Path) -> list[Cut]:
    found = msgspec.convert(alone(boot_partition.__name__, "cuts", number, update, timeout_s=1800), list[Cut])
    assert len(found) == number
    return found


@pytest.mark.lengthy
def test_a_power_cut_leaves_one_kernel_that_boots(times: Callable[[int, int], int]) -> None:
    """All that the firmware loads is of the old one or of the new one, and of the new one as soon as it is there."""
    found = cuts(times(10, 300), TREE / "usr/lib/flowpi-image/update-boot")
    assert [cut for cut in found if cut.boots not in (cut.done, cut.done + 1)] == []
    assert {cut.done for cut in found} == set(range(UPDATES + 1))


@pytest.mark.lengthy
def test_the_hook_alone_would_not(tmp_path: Path) -> None:
    """The rig detects what writes over the kernel that is in use."""
    program(tmp_path / "bin", "as-debian", '"$1" && sync')
    assert any(isinstance(cut.boots, str) for cut in cuts(10, tmp_path / "bin/as-debian"))
