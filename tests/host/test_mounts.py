from pathlib import Path

import pytest

from flowpi.host.mounts import forgets

CARD = "25 1 179:2 / {} rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw"
OVERLAY = "26 1 0:24 / / rw,relatime - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir={}/overlay,workdir=/w"
MEMORY = "27 26 0:23 / /media/root-rw rw,relatime - tmpfs tmpfs-root rw"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([CARD.format("/")], False),
        ([OVERLAY.format("/media/root-rw"), CARD.format("/media/root-ro"), MEMORY], True),
        ([OVERLAY.format("/media/root-ro"), CARD.format("/media/root-ro"), MEMORY], False),
        ([OVERLAY.format("/media/root-rw"), MEMORY, CARD.format("/etc/flowpi")], False),
        ([CARD.format("/"), OVERLAY.format("/media/root-rw"), MEMORY], True),
        ([OVERLAY.format("/of/another/namespace"), MEMORY.replace("/media/root-rw", "/of")], False),
        ([], False),
    ],
)
def test_an_overlay_in_memory_forgets(tmp_path: Path, lines: list[str], expected: bool) -> None:
    mounts = tmp_path / "mountinfo"
    (tmp_path / "media/root-rw/overlay").mkdir(parents=True)
    (tmp_path / "media/root-ro/overlay").mkdir(parents=True)
    mounts.write_text("".join(f"{line}\n" for line in lines).replace("/media", f"{tmp_path}/media"))
    assert forgets(Path("/etc/flowpi"), mounts) is expected


def test_here_nothing_is_known_to_forget(tmp_path: Path) -> None:
    assert not forgets(tmp_path)
    assert not forgets(tmp_path, tmp_path / "absent")
