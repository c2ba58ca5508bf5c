"""The device of the USB gadget, by what it writes and what the kernel answers; the kernel itself is in tests/system."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.core.errors import KeyboardError
from flowpi.core.typing.strokes import IDLE
from flowpi.keyboard.hid import HidGadget
from flowpi.keyboard.procedure import Reason, Wrote
from tests.keyboard.scripted_keyboard import CAPITAL_C


@pytest.fixture
def node(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "hidg0")
    return tmp_path / "hidg0"


@pytest.fixture
def device(node: Path) -> Iterator[HidGadget]:
    one = HidGadget(str(node))
    yield one
    one.close()


def test_a_moment_is_one_report(device: HidGadget) -> None:
    assert device.write(CAPITAL_C) is Wrote.TAKEN
    assert os.read(device.fileno(), 100) == bytes([2, 0, 6, 0, 0, 0, 0, 0])
    assert device.write(IDLE) is Wrote.TAKEN
    assert os.read(device.fileno(), 100) == bytes(8)


@pytest.mark.parametrize(
    ("number", "wrote"),
    [(errno.EAGAIN, Wrote.FULL), (errno.ESHUTDOWN, Wrote.NOBODY), (errno.ENODEV, Wrote.NOBODY)],
)
def test_what_the_kernel_answers(device: HidGadget, monkeypatch: pytest.MonkeyPatch, number: int, wrote: Wrote) -> None:
    def refuse(handle: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as kernel:
        kernel.setattr(os, "write", refuse)
        assert device.write(IDLE) is wrote


def test_it_never_waits(device: HidGadget) -> None:
    assert not os.get_blocking(device.fileno())


def test_the_light_of_caps_lock_is_as_the_computer_set_it_last(device: HidGadget) -> None:
    assert not device.caps_lock()
    os.write(device.fileno(), b"\x03")
    assert device.caps_lock()
    assert device.caps_lock()
    os.write(device.fileno(), b"\x01")
    assert not device.caps_lock()


def test_a_node_that_was_made_anew_is_another_device(device: HidGadget, node: Path) -> None:
    assert device.is_current()
    node.rename(node.with_name("before"))
    assert not device.is_current()
    os.mkfifo(node)
    assert not device.is_current()


def test_without_a_node_there_is_no_computer(tmp_path: Path) -> None:
    with pytest.raises(KeyboardError) as caught:
        HidGadget(str(tmp_path / "hidg0"))
    assert caught.value.reason == Reason.NO_HOST
