"""The check of the Wi-Fi, on trees like those of the kernel, and with a program in the place of `iw`."""

import shlex
import subprocess
from pathlib import Path

import pytest

from flowpi.doctor import wifi
from flowpi.doctor.findings import Finding
from flowpi.provision.wifi_files import ENABLED, NETWORK_MANAGER, WPA_SUPPLICANT, Program
from tests.waiting import PATIENCE_S


class Pi:
    """A machine with levers for its Wi-Fi."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.iw = root / "iw"

    def has_interface(self, name: str, state: str) -> None:
        folder = self._root / "sys/class/net" / name
        (folder / "phy80211").mkdir(parents=True, exist_ok=True)
        (folder / "operstate").write_text(f"{state}\n")

    def has_network(self, program: Program) -> None:
        path = self._root / "etc" / program.path
        path.parent.mkdir(parents=True)
        path.touch()
        if program is NETWORK_MANAGER:
            link = self._root / "etc" / ENABLED
            link.parent.mkdir(parents=True)
            link.symlink_to("/nowhere")

    def has_switch(self, kind: str, *, soft: int = 0, hard: int = 0) -> None:
        folder = self._root / "sys/class/rfkill" / f"rfkill{kind}{soft}{hard}"
        folder.mkdir(parents=True)
        for name, value in (("type", kind), ("soft", soft), ("hard", hard)):
            (folder / name).write_text(f"{value}\n")

    def iw_says(self, words: str) -> None:
        self.iw.write_text(f'#!/bin/sh\n[ "$*" = "dev wlan0 get power_save" ] && echo {shlex.quote(words)}\n')
        self.iw.chmod(0o755)

    def examine(self) -> list[Finding]:
        return wifi.examine(self._root)


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pi:
    pi = Pi(tmp_path)
    monkeypatch.setattr(wifi, "IW", str(pi.iw))
    return pi


def test_a_machine_without_wifi_has_nothing_to_say(pi: Pi, tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/eth0").mkdir(parents=True)
    pi.has_network(WPA_SUPPLICANT)
    assert pi.examine() == []


def test_a_wifi_that_nobody_uses_is_no_fault(pi: Pi) -> None:
    pi.has_interface("wlan0", "down")
    pi.has_switch("wlan", soft=1)
    assert pi.examine() == []


@pytest.mark.parametrize(
    ("words", "code"),
    [("Power save: off", "works"), ("Power save: on", "power_save"), ("", "skipped"), ("command failed", "skipped")],
)
def test_what_iw_says(pi: Pi, words: str, code: str) -> None:
    pi.has_interface("wlan0", "up")
    pi.iw_says(words)
    assert [finding.code for finding in pi.examine()] == [code]


def test_without_iw_it_is_unknown_and_not_fine(pi: Pi) -> None:
    pi.has_interface("wlan0", "up")
    (finding,) = pi.examine()
    assert (finding.code, "unknown without iw" in finding.message) == ("skipped", True)


@pytest.mark.parametrize("program", [None, NETWORK_MANAGER])
def test_the_hint_is_a_line_of_shell_that_writes_what_it_should(
    pi: Pi, tmp_path: Path, program: Program | None
) -> None:
    pi.has_interface("wlan0", "up")
    pi.iw_says("Power save: on")
    if program is not None:
        pi.has_network(program)
    (finding,) = pi.examine()
    line = finding.hint.replace("/etc/NetworkManager/conf.d", str(tmp_path)).replace("/etc/udev/rules.d", str(tmp_path))
    functions = 'sudo() { case "$1" in tee) "$@";; *) echo "$@";; esac; }\n'
    done = subprocess.run(
        ["/bin/sh", "-c", functions + line], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    if program is NETWORK_MANAGER:
        assert (tmp_path / "powersave.conf").read_text() == "[connection]\nwifi.powersave=2\n"
        assert done.stdout.splitlines()[-1] == "systemctl restart NetworkManager"
    else:
        off = f"{pi.iw} dev wlan0 set power_save off"
        assert (tmp_path / "70-wifi-power.rules").read_text() == (
            f'ACTION=="add", SUBSYSTEM=="net", KERNEL=="wlan0", RUN+="{off}"\n'
        )
        assert done.stdout.splitlines()[-1] == off


@pytest.mark.parametrize(
    ("soft", "hard", "code", "words"),
    [
        (0, 0, "not_joined", "journalctl -b -u wpa_supplicant@wlan0"),
        (1, 0, "radio_off", "rfkill unblock wifi"),
        (0, 1, "radio_off", "turn that switch on"),
    ],
)
def test_a_network_from_the_boot_partition_that_is_not_joined(
    pi: Pi, soft: int, hard: int, code: str, words: str
) -> None:
    pi.has_interface("wlan0", "dormant")
    pi.has_network(WPA_SUPPLICANT)
    pi.has_switch("bluetooth", soft=1, hard=1)
    pi.has_switch("wlan", soft=soft, hard=hard)
    (finding,) = pi.examine()
    assert (finding.code, finding.level) == (code, "warning")
    assert words in finding.hint


def test_network_manager_is_named_where_it_joins(pi: Pi) -> None:
    pi.has_interface("wlan0", "down")
    pi.has_network(NETWORK_MANAGER)
    (finding,) = pi.examine()
    assert "journalctl -b -u NetworkManager" in finding.hint
