"""The user's configuration on the card, at the next boot: a valid, a broken and a truncated one.

The good one is that of the machine of all other tests, so what they dictate is delivered with the key that was in it.
"""

import json
from pathlib import Path

import pytest

from flowpi.core.lights import CONFIGURATION
from tests.rig import boot_disk, build, image
from tests.rig.image import CARD, SECRET
from tests.rig.kernel_image import kernel
from tests.rig.machine import Machine
from tests.system.looking import wait_until_seen

pytestmark = pytest.mark.vm

CREDENTIAL = "/etc/flowpi/credentials/backends.local.client_key"
PASSED_ON = "/run/credentials/flowpi.service/flowpi_backends.local.client_key"


def test_a_good_one_is_in_force_when_it_is_ready_with_no_network_and_no_login(machine: Machine) -> None:
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
    assert json.loads(machine.sh("flowpi status --json"))["state"]["faults"] == []


def test_its_key_is_nowhere_on_the_card_any_more() -> None:
    assert SECRET.encode() in boot_disk.read_all(build.machine_disks())
    assert SECRET.encode() not in boot_disk.read_all(build.ready_machine())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            CARD.replace("device_id: kitchen", "device_id: cellar\nled: {pinn: 22}"),
            "line 3: led.pinn is not a known key",
        ),
        (CARD.replace("device_id: kitchen", "device_id: cellar")[:200], "the file may be cut off"),
    ],
    ids=["broken", "cut off"],
)
def test_one_that_cannot_be_used_changes_nothing_and_says_why(
    usable: None, tmp_path: Path, content: str, words: str
) -> None:
    image.copy(build.machine_disks(), tmp_path)
    boot_disk.copy_to(tmp_path, content, "flowpi.yaml")
    with Machine(kernel(), tmp_path, "systemd.mask=flowpi-asr.service") as machine:
        wait_until_seen(machine, CONFIGURATION)
        note = machine.sh("cat /boot/firmware/flowpi-error.txt")
        assert words in note
        assert "has changed nothing" in note
        assert machine.sh("cat /boot/firmware/flowpi.yaml") == content
        assert "cellar" not in machine.sh("cat /etc/flowpi/flowpi.yaml")
        (fault,) = json.loads(machine.sh("flowpi status --json"))["state"]["faults"]
        assert words in fault["message"]
