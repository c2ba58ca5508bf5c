"""The configuration that a person left on the card, at the next boot: a good one, a broken one, one cut off."""

import json
from pathlib import Path

import pytest

from flowpi.core.lights import CONFIGURATION
from tests.appliance.looking import wait_until_seen
from tests.appliance.overhearing import heard, listen
from tests.rig import boot_disk, build, image
from tests.rig.kernel_image import kernel
from tests.rig.machine import Machine

pytestmark = pytest.mark.vm

SECRET = "0123456789-a-key-of-this-house"

GOOD = f"""\
# Written on a kitchen table.
device_id: kitchen
dictation: {{backends: [house], first_result_timeout_s: 300}}
backends:
  house:
    kind: flow
    url: ws://127.0.0.1:8123/api/v1/dash/ws
    api_key: {SECRET}
server:
  api_keys: []
...
"""

HOUSE = f"flowpi serve --listen 127.0.0.1:8123 -o server.engine=echo -o 'server.api_keys=[{SECRET}]'"
"""A recogniser that wants the key."""

CREDENTIAL = "/etc/flowpi/credentials/backends.house.api_key"
PASSED_ON = "/run/credentials/flowpi.service/flowpi_backends.house.api_key"


@pytest.fixture(scope="module")
def card(usable: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disks of a machine that was never booted, for all boots of this module."""
    work = tmp_path_factory.mktemp("card")
    image.copy(build.machine_disks(), work)
    return work


def test_a_good_one_is_in_force_when_it_is_ready_with_no_network_and_no_login(card: Path) -> None:
    boot_disk.copy_to(card, GOOD, "flowpi.yaml")
    assert SECRET.encode() in boot_disk.read_all(card)
    with Machine(kernel(), card) as machine:
        see_that_it_is_in_force(machine)
    assert SECRET.encode() not in boot_disk.read_all(card)


def see_that_it_is_in_force(machine: Machine) -> None:
    machine.sh("systemctl is-system-running --wait || true")
    assert machine.sh("systemctl is-active flowpi flowpi-asr").split() == ["active", "active"]
    assert machine.sh("ls /sys/class/net").split() == ["lo"]
    assert machine.sh("who") == ""
    assert machine.sh("systemctl show --property=NRestarts --value flowpi flowpi-asr").split() == ["0", "0"]
    assert machine.sh("stat --format=%A /run/flowpi/flowpi.sock")[0] == "s"
    assert machine.edges()[-1].level == 0, "dark: ready"

    assert machine.sh("ls /boot/firmware").split() == ["flowpi-taken.yaml"]
    taken = machine.sh("cat /etc/flowpi/flowpi.yaml")
    assert "device_id: kitchen" in taken
    assert SECRET not in taken + machine.sh("cat /boot/firmware/flowpi-taken.yaml; journalctl --no-pager")
    assert machine.sh(f"stat --format='%a %U %s' {CREDENTIAL}") == f"600 root {len(SECRET)}\n"
    holders = "grep --recursive --files-with-matches --fixed-strings --no-messages"
    assert machine.sh(f"{holders} -- {SECRET} /etc /run /var").split() == [CREDENTIAL, PASSED_ON]
    assert machine.sh("flowpi -c /etc/flowpi/flowpi.yaml config show | grep device_id") == "device_id: kitchen\n"

    machine.background(HOUSE, "house")
    listen(machine, "transcript/final")
    machine.until("ss --listening --tcp --no-header | grep 8123")
    machine.sh("flowpi record start && sleep 1 && flowpi record stop")
    machine.until("grep transcript/final /run/heard")
    (text,) = heard(machine, "transcript/final")
    assert text["backend"] == "house"
    assert text["text"].startswith("echo ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (GOOD.replace("kitchen", "cellar\nled: {pinn: 22}"), "line 3: led.pinn is not a known key"),
        (GOOD.replace("kitchen", "cellar")[:150], "the file may be cut off"),
    ],
    ids=["broken", "cut off"],
)
def test_one_that_cannot_be_used_changes_nothing_and_says_why(card: Path, content: str, words: str) -> None:
    boot_disk.copy_to(card, content, "flowpi.yaml")
    with Machine(kernel(), card, "systemd.mask=flowpi-asr.service") as machine:
        wait_until_seen(machine, CONFIGURATION)
        note = machine.sh("cat /boot/firmware/flowpi-error.txt")
        assert words in note
        assert "has changed nothing" in note
        assert machine.sh("cat /boot/firmware/flowpi.yaml") == content
        assert "cellar" not in machine.sh("cat /etc/flowpi/flowpi.yaml")
        (fault,) = json.loads(machine.sh("flowpi status --json"))["state"]["faults"]
        assert words in fault["message"]
