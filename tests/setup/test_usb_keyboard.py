"""The line in config.txt: where it counts, what is in its way, and what is left alone."""

import errno
import os
from pathlib import Path

import pytest

from flowpi.core.errors import CannotCreateError, UnavailableError
from flowpi.setup.usb_keyboard import LINE, can_be_keyboard, has_line, in_the_way, usb_keyboard, with_line

RASPBERRY_PI_OS = """\
# For more options see http://rptl.io/configtxt
dtparam=audio=on
camera_auto_detect=1

[cm4]
# Enable host mode on the 2711 built-in XHCI USB controller.
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
"""


def test_the_line_counts_on_every_board_and_is_written_once() -> None:
    text = with_line(RASPBERRY_PI_OS)
    assert text.startswith(RASPBERRY_PI_OS.rstrip())
    assert has_line(text)
    assert with_line(text) == text


def test_behind_the_section_of_a_board_it_does_not_count() -> None:
    assert not has_line(RASPBERRY_PI_OS.removesuffix("[all]\n") + LINE)
    assert has_line(LINE)
    assert not has_line(f"# {LINE}")
    assert has_line(with_line("[cm5]\n" + LINE))


@pytest.mark.parametrize("line", ["dtoverlay=dwc2", "dtoverlay=dwc2,dr_mode=host", "dtoverlay=dwc2,dr_mode=otg"])
def test_another_line_for_the_controller_of_all_boards_makes_room(line: str) -> None:
    text = with_line(f"arm_64bit=1\n{line}\n")
    assert f"# {line}" in text.splitlines()
    assert line not in text.splitlines()
    assert "arm_64bit=1" in text.splitlines()
    assert has_line(text)


def test_a_line_that_contradicts_it_on_all_boards_makes_room() -> None:
    both = f"{LINE}\ndtoverlay=dwc2,dr_mode=host\n"
    assert not has_line(both)
    assert has_line(with_line(both))
    assert "# dtoverlay=dwc2,dr_mode=host" in with_line(both).splitlines()


def test_the_ends_of_lines_stay_as_they_are() -> None:
    text = with_line("arm_64bit=1\r\n# a\x0bb\r\n")
    assert text.startswith("arm_64bit=1\r\n# a\x0bb\r\n")
    assert text.count("\n") == text.count("\r\n")
    assert has_line(text)


def test_what_is_in_the_way_is_said() -> None:
    found = in_the_way(RASPBERRY_PI_OS, "root=/dev/mmcblk0p2 modules-load=dwc2,g_hid rootwait")
    assert [one.partition(":")[0] for one in found] == [
        "[cm4] otg_mode=1",
        "[cm5] dtoverlay=dwc2,dr_mode=host",
        "cmdline.txt loads g_hid, which has the controller for itself",
    ]
    assert in_the_way(with_line(""), "root=/dev/mmcblk0p2") == []


@pytest.mark.parametrize(
    ("model", "can"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0", True),
        ("Raspberry Pi Zero W Rev 1.1", True),
        ("Raspberry Pi Model A Plus Rev 1.1", True),
        ("Raspberry Pi 3 Model A Plus Rev 1.0", True),
        ("Raspberry Pi 4 Model B Rev 1.5", True),
        ("Raspberry Pi 400 Rev 1.0", True),
        ("Raspberry Pi 5 Model B Rev 1.0", True),
        ("Raspberry Pi Compute Module 4 Rev 1.1", True),
        ("Raspberry Pi Model B Plus Rev 1.2", False),
        ("Raspberry Pi 2 Model B Rev 1.1", False),
        ("Raspberry Pi 3 Model B Rev 1.2", False),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", False),
    ],
)
def test_which_pi_can(model: str, can: bool) -> None:
    assert can_be_keyboard(model) is can


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "boot/firmware").mkdir(parents=True)
    (tmp_path / "boot/firmware/config.txt").write_text(RASPBERRY_PI_OS)
    return tmp_path


def test_it_shows_the_line_and_writes_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = root / "boot/firmware/config.txt"
    assert usb_keyboard(root=str(root), dry_run=True) == 0
    assert file.read_text() == RASPBERRY_PI_OS
    assert LINE in capsys.readouterr().out
    if os.geteuid() == 0:
        assert usb_keyboard(root=str(root), dry_run=False) == 0
        assert file.read_text() == with_line(RASPBERRY_PI_OS)
        assert usb_keyboard(root=str(root), dry_run=False) == 0
        assert "already" in capsys.readouterr().out


def test_a_machine_that_is_no_pi_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"docs/typing\.md"):
        usb_keyboard(root=str(tmp_path), dry_run=False)


def test_a_file_that_cannot_be_read_is_not_replaced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as card:
        card.setattr(Path, "read_bytes", broken)
        with pytest.raises(CannotCreateError, match="cannot read"):
            usb_keyboard(root=str(root), dry_run=False)
    assert (root / "boot/firmware/config.txt").read_text() == RASPBERRY_PI_OS
