"""The device of uinput, by what it asks the kernel for and what it writes; the kernel itself is in tests/system."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import IDLE
from flowpi.keyboard import uinput
from flowpi.keyboard.procedure import Reason, Wrote
from flowpi.keyboard.uinput import EV_KEY, EV_LED, EV_SYN, EVENT, SETUP, Uinput, events
from tests.keyboard.scripted_keyboard import CAPITAL_C, A


class Kernel:
    """The node as a pair of pipes' ends in one: what is written can be read back by `taken`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: list[tuple[int, object]] = []
        os.mkfifo(path)

    def ioctl(self, handle: int, number: int, argument: object = 0) -> None:
        self.asked.append((number, argument))

    def arguments(self, number: int) -> list[object]:
        return [argument for asked, argument in self.asked if asked == number]


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path / "uinput")


@pytest.fixture
def device(kernel: Kernel) -> Iterator[Uinput]:
    one = Uinput(str(kernel.path), kernel.ioctl)
    yield one
    one.close()


def taken(device: Uinput) -> list[tuple[int, int, int]]:
    """Return type, code and value of each event that was written."""
    return [event[2:] for event in EVENT.iter_unpack(os.read(device.fileno(), 10_000))]


def test_it_is_made_once_with_all_keys_and_a_name_that_stays(kernel: Kernel, device: Uinput) -> None:
    assert kernel.arguments(uinput.UI_SET_KEYBIT) == list(range(1, 128))
    assert kernel.arguments(uinput.UI_SET_EVBIT) == [EV_KEY, EV_LED]  # and not EV_REP
    (setup,) = kernel.arguments(uinput.UI_DEV_SETUP)
    assert isinstance(setup, bytes)
    bus, vendor, product, _, name, _ = SETUP.unpack(setup)
    assert len(setup) == uinput.UI_DEV_SETUP >> 16 & 0x3FFF
    assert (bus, vendor, product, name.rstrip(b"\0")) == (6, 0x1D6B, 0x0104, b"flowpi keyboard")
    assert kernel.asked[-1] == (uinput.UI_DEV_CREATE, 0)


def test_each_change_is_a_group_that_a_reader_sees_at_once(device: Uinput) -> None:
    assert device.write(CAPITAL_C) is Wrote.TAKEN
    assert taken(device) == [(EV_KEY, 42, 1), (EV_KEY, 46, 1), (EV_SYN, 0, 0)]
    assert device.write(IDLE) is Wrote.TAKEN
    assert taken(device) == [(EV_KEY, 42, 0), (EV_KEY, 46, 0), (EV_SYN, 0, 0)]


def test_a_report_that_changes_nothing_is_no_event() -> None:
    assert events(A, A) == b""


def test_the_light_of_caps_lock_is_as_the_computer_set_it_last(device: Uinput) -> None:
    assert not device.caps_lock()
    for value in (1, 0, 1):
        os.write(device.fileno(), EVENT.pack(0, 0, EV_LED, uinput.LED_CAPS_LOCK, value))
    assert device.caps_lock()
    os.write(device.fileno(), EVENT.pack(0, 0, EV_LED, 0, 0))  # Num Lock
    assert device.caps_lock()


def test_a_machine_without_it_and_one_that_may_not_say_which(tmp_path: Path) -> None:
    with pytest.raises(KeyboardError) as missing:
        Uinput(str(tmp_path / "none"))
    assert missing.value.reason == Reason.NO_HOST
    assert "modprobe uinput" in missing.value.hint
    (tmp_path / "file").touch()
    with pytest.raises(KeyboardError):
        Uinput(str(tmp_path / "file"), fcntl.ioctl)


def test_what_may_not_be_opened_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(KeyboardError) as caught:
        Uinput(str(tmp_path / "uinput"))
    assert caught.value.reason == Reason.NO_PERMISSION
