"""What is written to make a USB keyboard, in which order, and that it is taken down as it was made."""

from pathlib import Path

import pytest

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.usages import DESCRIPTOR
from flowpi.keyboard import gadget


@pytest.fixture
def configfs(tmp_path: Path) -> Path:
    (tmp_path / "usb_gadget").mkdir()
    return tmp_path / "usb_gadget"


@pytest.fixture
def controllers(tmp_path: Path) -> Path:
    (tmp_path / "udc" / "fe980000.usb").mkdir(parents=True)
    return tmp_path / "udc"


def test_it_is_complete_before_the_controller_connects_it(configfs: Path, controllers: Path) -> None:
    assert gadget.up(configfs, controllers) == "fe980000.usb"
    made = configfs / "flowpi"
    assert (made / "UDC").read_text() == "fe980000.usb"
    assert (made / "functions/hid.keyboard/report_desc").read_bytes() == DESCRIPTOR
    assert (made / "functions/hid.keyboard/report_length").read_text() == "8"
    assert (made / "configs/c.1/bmAttributes").read_text() == "0xa0"
    assert (made / "configs/c.1/hid.keyboard").resolve() == (made / "functions/hid.keyboard").resolve()
    parts = ["functions/hid.keyboard/report_desc", "UDC"]
    first, last = ((made / part).stat().st_mtime_ns for part in parts)
    assert first <= (made / "configs/c.1/hid.keyboard").lstat().st_mtime_ns <= last


def test_without_a_controller_nothing_is_made_and_the_reason_is_said(configfs: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardError, match="flowpi setup --usb-keyboard"):
        gadget.up(configfs, tmp_path / "none")
    assert not list(configfs.iterdir())


def test_without_configfs_the_module_is_named(tmp_path: Path, controllers: Path) -> None:
    with pytest.raises(KeyboardError, match="modprobe libcomposite"):
        gadget.up(tmp_path / "none", controllers)


def test_a_controller_that_is_taken_is_said(configfs: Path, controllers: Path) -> None:
    (configfs / "flowpi").symlink_to(configfs / "nowhere")
    with pytest.raises(KeyboardError, match="g_hid"):
        gadget.up(configfs, controllers)


def test_taking_down_what_is_not_there_is_no_error(configfs: Path) -> None:
    gadget.down(configfs)


def test_a_gadget_of_before_that_cannot_be_removed_is_said(configfs: Path, controllers: Path) -> None:
    (configfs / "flowpi/functions/hid.keyboard/in use").mkdir(parents=True)
    with pytest.raises(KeyboardError, match="cannot remove"):
        gadget.up(configfs, controllers)
