"""`flowpi light`: from the command line to the pin."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.cli import main as cli
from flowpi.cli.light import NAMES
from flowpi.config import loading
from flowpi.config.loading import load_for_light
from flowpi.config.schema import LedSettings
from flowpi.core.errors import UsageError
from flowpi.core.lights import ALL, drawing
from flowpi.panel import gpio
from flowpi.panel.gpio import GpioLed
from tests.panel.board import Board, in_use
from tests.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def _no_system_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOWPI_CONFIG", raising=False)
    monkeypatch.setattr(loading, "DEFAULT_PATH", str(tmp_path / "etc" / "flowpi.yaml"))


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    monkeypatch.setattr(gpio, "CHIPS", f"{tmp_path}/gpiochip*")
    with in_use(Board(tmp_path)) as board:
        yield board


def ends(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["light", *arguments])
    out, err = capfd.readouterr()
    return code, out, err


def test_without_a_name_all_are_drawn(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = ends(capfd)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == len(ALL)
    for line, pattern in zip(out.splitlines(), ALL, strict=True):
        assert line.split()[:2] == [pattern.name.replace(" ", "-"), drawing(pattern)]
        assert line.endswith(pattern.meaning)


def test_a_pattern_that_there_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    assert ends(capfd, "disco") == (
        64, "", "flowpi: there is no pattern 'disco': known: " + ", ".join(NAMES) + "\n",
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_shows_until_a_signal_comes_and_is_dark_then(
    capfd: pytest.CaptureFixture[str], board: Board, number: signal.Signals
) -> None:
    nobody_tells, pulses = threading.Event(), 5
    changes = board.lines[22].changes

    def look() -> None:
        patience = time.monotonic() + PATIENCE_S
        while len(changes) < 2 * pulses and time.monotonic() < patience:
            nobody_tells.wait(0.005)
        os.kill(os.getpid(), number)

    watcher = threading.Thread(target=look)
    watcher.start()
    code, out, err = ends(capfd, "listening", "-o", "led={pin: 22, brightness: 0.5}")
    watcher.join()
    assert (code, out, err) == (0, "", "")
    assert len(changes) >= 2 * pulses  # half as bright: on and off by turns
    assert not changes[-1][1]


def test_an_led_in_use_is_told(capfd: pytest.CaptureFixture[str], board: Board) -> None:
    daemon = GpioLed(27)
    daemon.open()
    code, _, err = ends(capfd, "ready")
    daemon.close()
    assert code == 69
    assert err.startswith("flowpi: the LED on GPIO 27 cannot be used (GPIOPinInUse: ")
    assert "while the daemon runs it has the LED, so stop it (systemctl stop flowpi)" in err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("led.kind=none", "flowpi: there is no LED: set led.kind\n"),
        ("led.pin=22", "flowpi: there is no GPIO chip here: set led.kind to what this machine has\n"),
    ],
)
def test_without_an_led_it_says_so(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, setting: str, message: str
) -> None:
    monkeypatch.setattr(gpio, "CHIPS", f"{tmp_path}/gpiochip*")
    assert ends(capfd, "ready", "-o", setting) == (69, "", message)


@pytest.mark.parametrize(
    ("text", "led"),
    [
        ("led: {pin: 22}\naudio: {rate: fast}", LedSettings(pin=22)),
        ("led: {pin: 17}\nbutton: {pin: 99}", LedSettings(pin=17)),  # the button is on another pin
        ("board: aiy-voice-kit\nspol: {}", LedSettings(pin=25)),
        ("board: aiy-voice-kit\nled: {brightness: 0.5}\nspol: {}", LedSettings(pin=25, brightness=0.5)),
        ("board: aiy-voice-kit\nled: {brightness: bright}", LedSettings(pin=25)),
        ("board: nonesuch\nled: {pin: 22}", LedSettings(pin=22)),
        ("led: {pin: 2200}", LedSettings()),
        ("led: 3", LedSettings()),
        ("\x00", LedSettings()),
        ("{", LedSettings()),
    ],
)
def test_a_wrong_configuration_may_still_say_where_the_led_is(tmp_path: Path, text: str, led: LedSettings) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    config, wrong = load_for_light(str(file))
    assert config.led == led
    assert wrong is not None
    assert wrong.exit_code == 78


def test_a_good_one_is_taken_as_it_is_and_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("led: {pin: 22}\nspool: {max_mb: 7}")
    config, wrong = load_for_light(str(file))
    assert (config.led.pin, config.spool.max_mb, wrong) == (22, 7, None)
    config, wrong = load_for_light(str(tmp_path / "absent"))
    assert config.led == LedSettings()
    assert str(wrong).startswith("there is no configuration file ")


def test_what_is_wrong_on_the_command_line_is_no_matter_for_the_led() -> None:
    with pytest.raises(UsageError):
        load_for_light(None, ["led"])
