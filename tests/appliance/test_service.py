"""The units, as somebody who runs `systemctl` and `journalctl` meets them, on both suites."""

import json
from pathlib import Path

import pytest

from tests.appliance.talking import FINAL, speak_from_file
from tests.rig.container import Container
from tests.speech import Recording, word_error_rate

pytestmark = pytest.mark.nspawn

CONFIG = "/etc/flowpi/flowpi.yaml"
DROP_IN = "/etc/systemd/system/{}.service.d"


def show(container: Container, unit: str, name: str) -> str:
    return container.sh(f"systemctl show --property={name} --value {unit}").strip()


def drop_in(container: Container, unit: str, lines: str) -> None:
    directory = container.path(DROP_IN.format(unit))
    directory.mkdir(exist_ok=True)
    (directory / "test.conf").write_text(f"[Service]\n{lines}\n")
    container.sh("systemctl daemon-reload")


def test_it_takes_a_dictation_with_no_network(installed: Container, spoken: Path, sentence: Recording) -> None:
    assert installed.sh("ip -brief link").split()[0] == "lo"
    assert installed.sh("ls /sys/class/net").strip() == "lo"
    speak_from_file(installed, spoken)
    installed.until("systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    (line,) = installed.until(FINAL).splitlines()
    assert word_error_rate(sentence.text, json.loads(line)["text"]) <= 0.25


@pytest.mark.parametrize("unit", ["flowpi", "flowpi-asr"])
def test_a_bad_configuration_is_not_tried_again(installed: Container, unit: str) -> None:
    installed.path(CONFIG).write_text("audio: {rat: 16000}\n")
    assert installed.run(f"systemctl restart {unit}").code != 0
    installed.sh("sleep 3")  # longer than RestartSec of the daemon
    assert show(installed, unit, "ExecMainStatus") == "78"
    assert show(installed, unit, "ActiveState") == "failed"
    assert show(installed, unit, "NRestarts") == "0"
    log = installed.sh(f"journalctl --no-pager --output=cat --unit={unit}")
    assert "flowpi.yaml" in log
    assert "rate" in log, "the nearest known key"


def test_a_killed_daemon_is_started_again(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    before = show(installed, "flowpi", "MainPID")
    installed.sh(f"kill -KILL {before}")
    installed.until("[ $(systemctl show --property=NRestarts --value flowpi) = 1 ] && systemctl is-active flowpi")
    assert show(installed, "flowpi", "MainPID") != before


def test_a_reload_takes_a_good_configuration_and_refuses_a_bad_one(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    process = show(installed, "flowpi", "MainPID")
    config = installed.path(CONFIG)
    config.write_text("led: {kind: none}\nbutton: {kind: none}\naudio: {preroll_ms: 200}\n")
    installed.sh("systemctl reload flowpi")
    installed.until("journalctl --no-pager --unit=flowpi | grep 'configuration reloaded'")
    config.write_text("audio: [this is no configuration\n")
    installed.run("systemctl reload flowpi")
    installed.until("journalctl --no-pager --unit=flowpi | grep 'the old one stays'")
    assert show(installed, "flowpi", "MainPID") == process
    assert show(installed, "flowpi", "ActiveState") == "active"


def test_the_watchdog_ends_a_daemon_that_stands_still(installed: Container) -> None:
    drop_in(installed, "flowpi", "WatchdogSec=3s")
    installed.sh("systemctl restart flowpi")
    process = show(installed, "flowpi", "MainPID")
    installed.sh("sleep 5")
    assert show(installed, "flowpi", "MainPID") == process, "it is fed while all goes well"
    installed.sh(f"kill -STOP {process}")
    installed.until("[ $(systemctl show --property=NRestarts --value flowpi) = 1 ] && systemctl is-active flowpi")
    assert "Watchdog timeout" in installed.sh("journalctl --no-pager --unit=flowpi")


KEYED = """\
dictation: {backends: [local]}
backends: {local: {kind: flow, url: "ws+unix:///run/flowpi/asr.sock", client_key: {credential: house-key}}}
"""


def test_a_key_comes_as_a_credential(installed: Container, spoken: Path) -> None:
    """What is said without it waits, and says why; it is delivered when systemd hands the key over."""
    speak_from_file(installed, spoken, KEYED)
    installed.until("systemctl is-active flowpi-asr")
    installed.sh("flowpi record start && sleep 4 && flowpi record stop")
    installed.until("systemctl show --property=StatusText flowpi | grep house-key")
    assert installed.run(FINAL).code != 0
    installed.path("/etc/flowpi/house-key").write_text("a-key-of-this-house")
    installed.sh("chmod 600 /etc/flowpi/house-key")
    drop_in(installed, "flowpi", "LoadCredential=house-key:/etc/flowpi/house-key")
    installed.sh("systemctl restart flowpi")
    assert json.loads(installed.until(FINAL))["backend"] == "local"


def test_status_says_in_one_line_how_it_is(installed: Container) -> None:
    installed.until("systemctl is-active flowpi")
    status = installed.sh("systemctl status --no-pager flowpi")
    (line,) = [line for line in status.splitlines() if line.lstrip().startswith("Status:")]
    assert "sound" in line or "microphone" in line, "a container has none"


def test_it_stops_in_time_and_starts_with_the_system(installed: Container) -> None:
    installed.until("systemctl is-active flowpi flowpi-asr")
    installed.sh("systemctl stop flowpi flowpi-asr")
    assert show(installed, "flowpi", "Result") == "success"
    assert show(installed, "flowpi-asr", "Result") == "success"
