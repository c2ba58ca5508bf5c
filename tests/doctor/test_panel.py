"""The check of button and LED: reported by the daemon, by the devices in /dev, and with the user's help."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import ButtonSettings, Config, LedSettings
from flowpi.core.errors import PanelError, UsageError
from flowpi.doctor import panel
from flowpi.doctor.findings import Finding
from tests.cli.test_daemon_commands import Daemon
from tests.panel.board import Board, in_use
from tests.waiting import PATIENCE_S

TAKEN = "the button on GPIO 17 cannot be used (GPIOPinInUse): check the pin number"

FORBIDDEN = (
    "the button /dev/input/event0 cannot be used (Permission denied): let the service use it: SupplementaryGroups=input"
)


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / "gpiochip0").touch()
    return tmp_path


def test_no_chip(tmp_path: Path) -> None:
    (finding,) = panel.look(Config(), None, tmp_path)
    assert (finding.level, finding.code) == ("warning", "no_chip")
    assert panel.look(Config(button=ButtonSettings(kind="none"), led=LedSettings(kind="none")), None, tmp_path) == []


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with in_use(Board(tmp_path)) as board:
        yield board


def test_a_chip(board: Board) -> None:
    nothing: dict[str, str] = {}
    for faults in (None, nothing):
        found = panel.look(Config(), faults, board.devices)
        assert [(finding.part, finding.code) for finding in found] == [("button", "works"), ("LED", "works")]
        assert all("--panel" in finding.message for finding in found)


def test_a_pin_that_another_program_uses(board: Board) -> None:
    config = Config(led=LedSettings(kind="rgb", pins=(5, 6, 13)), profiles={"german": ProfileSettings(pin=22)})
    board.lines[13].used = board.lines[22].used = True
    board.lines[13].consumer, board.lines[22].consumer = "spi0 CS1", "somebody"
    button, led = panel.look(config, None, board.devices)
    assert (button.part, button.code) == ("button", "pin")
    assert button.message == "the button on GPIO 22 cannot be used (somebody is using it)"
    assert (led.part, led.message) == ("LED", "the LED on GPIO 13 cannot be used (spi0 CS1 is using it)")
    running: dict[str, str] = {}
    assert [finding.code for finding in panel.look(config, running, board.devices)] == ["works", "works"]


@pytest.mark.parametrize("faults", [None, {}])
def test_each_kind_needs_its_own_device(devices: Path, faults: dict[str, str] | None) -> None:
    config = Config(
        button=ButtonSettings(kind="evdev", device=str(devices / "pedal"), key="KEY_F13"),
        led=LedSettings(kind="apa102"),
    )
    assert [finding.code for finding in panel.look(config, faults, devices)] == ["absent", "no_chip"]
    (devices / "pedal").touch()
    (devices / "spidev0.1").touch()  # another one
    absent = panel.look(config, faults, devices)[-1]
    assert (absent.part, absent.code, absent.hint.split()[1]) == ("LED", "no_chip", "raspi-config")
    (devices / "spidev0.0").touch()
    assert [finding.code for finding in panel.look(config, faults, devices)] == ["works", "works"]


def test_the_daemon_cannot_use_a_pin(devices: Path) -> None:
    taken, led = panel.look(Config(), {"button": TAKEN}, devices)
    assert taken == Finding("button", "warning", "pin", *TAKEN.split(": "))
    (pedal, _) = panel.look(Config(), {"button": FORBIDDEN}, devices)
    assert pedal.message == "the button /dev/input/event0 cannot be used (Permission denied)"
    assert pedal.hint == "let the service use it: SupplementaryGroups=input"
    assert led.code == "works"


@pytest.mark.parametrize(
    ("sees", "level", "code"),
    [(lambda: True, "ok", "works"), (lambda: False, "failure", "not_pressed")],
)
def test_a_press(sees: Callable[[], bool], level: str, code: str) -> None:
    finding = panel.pressed(sees)
    assert (finding.level, finding.code) == (level, code)


@pytest.mark.parametrize(("kinds", "seen"), [(["released", "pressed"], True), (["released"], False), ([], False)])
def test_the_daemon_tells_of_a_press(tmp_path: Path, kinds: list[str], seen: bool) -> None:
    events = [{"topic": "event/button", "payload": {"kind": kind}} for kind in kinds]
    daemon = Daemon(tmp_path / "flowpi.sock", [{"subscribed": ["event/button"]}, *events])  # and then it goes away
    try:
        asked: list[str] = []
        assert panel.daemon_sees(daemon.config, lambda: asked.append("press")) == seen
        assert asked == ["press"]
    finally:
        daemon.close()
    assert daemon.heard == [{"subscribe": ["event/button"]}]


def test_a_pin_that_cannot_be_opened() -> None:
    def sees() -> bool:
        raise PanelError("the button cannot be used", "check the pin")

    assert panel.pressed(sees) == Finding("button", "failure", "pin", "the button cannot be used", "check the pin")


@pytest.mark.parametrize(("answer", "code"), [("y", "works"), (" Yes ", "works"), ("n", "dark"), ("", "dark")])
def test_whether_it_flashed(answer: str, code: str) -> None:
    assert panel.flashed(answer).code == code


def test_nobody_at_a_terminal() -> None:
    with pytest.raises(UsageError, match="terminal"):
        panel.ask_person(Config())


def test_at_a_terminal_stdout_is_for_the_findings(tmp_path: Path) -> None:
    """Both parts fail, on every machine, and are reported beside the others."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flowpi", "doctor", "--panel", "--json"]
    command += ["--set", f"publish.socket.path={tmp_path}/flowpi.sock", "--set", "audio.device=none"]
    command += [
        "--set",
        "button={kind: evdev, device: /dev/null, key: KEY_NONE}",
        "--set",
        "led={kind: apa102, spi: [9, 9]}",
    ]
    done = subprocess.run(command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, timeout=PATIENCE_S)
    for end in (ours, theirs):
        os.close(end)
    assert done.returncode == 2
    found = json.loads(done.stdout)
    assert [(one["part"], one["code"]) for one in found[-2:]] == [("button", "pin"), ("LED", "pin")]
