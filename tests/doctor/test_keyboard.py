"""What the doctor finds of the keyboard that types, on machines that a test makes of files."""

import grp
import os
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.keyboard import KeyboardSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.doctor import keyboard
from flowpi.doctor.keyboard import examine
from flowpi.keyboard import layouts
from flowpi.setup.usb_keyboard import LINE


def config(**settings: Any) -> Config:
    return Config(publish=PublishSettings(keyboard=KeyboardSettings(**settings)))


HID = {"kind": "hid", "layout": "de"}


class Machine:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.sink: dict[str, Any] = {"name": "keyboard", "state": "open", "error": None}

    def has(self, path: str, text: str = "", mode: int = 0o660) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def codes(self, **settings: Any) -> list[str]:
        return [finding.code for finding in examine(config(**settings), self.root)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine(tmp_path)
    monkeypatch.setattr(keyboard, "USER", grp.getgrgid(os.getegid()).gr_name)
    monkeypatch.setattr(keyboard, "status_of", lambda config: {"sinks": [one.sink]})
    return one


def test_without_a_keyboard_nothing_is_looked_at(machine: Machine) -> None:
    assert machine.codes() == []


def test_one_that_works(machine: Machine) -> None:
    machine.has("dev/hidg0")
    assert machine.codes(**HID) == ["works"]
    machine.has("dev/uinput")
    assert machine.codes(kind="uinput", layout="us") == ["works"]


def test_the_module_of_uinput(machine: Machine) -> None:
    (found,) = examine(config(kind="uinput", layout="us"), machine.root)
    assert (found.code, "modprobe uinput" in found.hint) == ("absent", True)


def test_the_line_in_config_txt_counts_only_for_all_boards(machine: Machine) -> None:
    machine.has("boot/firmware/config.txt", f"[cm5]\n{LINE}\n")
    (found,) = examine(config(**HID), machine.root)
    assert (found.code, "flowpi setup --usb-keyboard" in found.hint) == ("no_peripheral", True)


def test_what_has_the_controller(machine: Machine) -> None:
    machine.has("boot/firmware/config.txt", f"{LINE}\n")
    assert machine.codes(**HID) == ["no_controller"]
    machine.has("boot/firmware/cmdline.txt", "modules-load=dwc2,g_hid")
    (found,) = examine(config(**HID), machine.root)
    assert (found.code, "g_hid" in found.message) == ("no_controller", True)


def test_a_pi_that_cannot_be_a_keyboard(machine: Machine) -> None:
    machine.has("proc/device-tree/model", "Raspberry Pi 3 Model B Rev 1.2\0")
    machine.has("boot/firmware/config.txt", f"{LINE}\n")
    (found,) = examine(config(**HID), machine.root)
    assert (found.code, "3 Model B" in found.message) == ("no_controller", True)


def test_a_controller_without_a_keyboard(machine: Machine) -> None:
    machine.has("sys/class/udc/fe980000.usb/state")
    assert machine.codes(**HID) == ["absent"]


def test_rights(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("dev/hidg0", mode=0o666)
    assert machine.codes(**HID) == ["exposed"]
    machine.has("dev/hidg0", mode=0o600)
    assert machine.codes(**HID) == ["forbidden"]
    machine.has("dev/hidg0")
    monkeypatch.setattr(keyboard, "USER", "flowpi-keyboard")
    assert machine.codes(**HID) == ["forbidden"]


def test_the_layout_of_this_machine(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:

    machine.has("dev/uinput")
    machine.has("etc/default/keyboard", "XKBLAYOUT=ru\n")
    read = layouts.system_layout
    monkeypatch.setattr("flowpi.keyboard.chosen.system_layout", lambda: read(machine.root / "etc/default/keyboard"))
    assert machine.codes(kind="uinput") == ["layout"]


@pytest.mark.parametrize("reason", ["no_host", "asleep"])
def test_what_the_computer_says(machine: Machine, reason: str) -> None:
    machine.has("dev/hidg0")
    machine.sink |= {"state": "failing", "error": f"{reason}: it is so: do this"}
    (found,) = examine(config(**HID), machine.root)
    assert (found.code, found.message, found.hint) == (reason, "it is so", "do this")


def test_caps_lock(machine: Machine) -> None:
    machine.has("dev/hidg0")
    machine.sink["caps_lock"] = True
    (found,) = examine(config(**HID), machine.root)
    assert (found.code, found.level) == ("caps_lock", "ok")
