"""What the services cannot do, tried from inside of each: `tests/rig/guest/probe.py` as the program of its unit.

The same program is then run as root with no sandbox: what it cannot do there either proves nothing, and is named.
"""

import json
from typing import Any

import pytest

from tests.rig.container import Container
from tests.rig.image import GUEST
from tests.rig.machine import Machine

PROBE = "/usr/lib/flowpi-probe.py"

DROP_IN = """\
[Service]
Type=oneshot
ExecStart=
ExecStart=/usr/bin/python3 -B {probe}
Restart=no
StandardOutput=truncate:/root/probe.json
"""

OWN = {
    "flowpi": {
        "write /tmp",
        "write /run/flowpi",
        "write /var/lib/flowpi",
        "open /dev/null",
        "a local socket",
        "a socket of the internet",
        "send by the internet",
    },
    "flowpi-asr": {
        "write /tmp",
        "write /run/flowpi",
        "open /dev/null",
        "a local socket",
    },
}
"""All that each can do of what is tried."""

DEVICES = {"flowpi": {"open /dev/gpiochip0", "open the sound card"}, "flowpi-asr": set[str]()}
"""And where there are such devices."""

ONLY_ON_A_MACHINE = {
    "open /dev/kmsg",
    "open /dev/mem",
    "open the disk",
    "open /dev/uinput",
    "open /dev/input",
    "open /dev/rtc",
    "open /dev/gpiochip0",
    "open the sound card",
    "a socket for raw packets",
    "a socket of another machine",
    "set the clock",
    "read the kernel's log",
    "load a module",
    "load BPF",
    "change a kernel variable",
    "change a control group",
    "swap",
    "read the journal",
}
"""A container cannot do these, whoever asks."""

NEVER = {"a socket of another machine", "load a module", "load BPF", "swap"}
"""They end with an error even for root, as there is nothing there to load, to reach or to swap."""


def probe(place: Container | Machine, unit: str) -> dict[str, Any]:
    """What the program found as the service `unit`."""
    place.sh(f"systemctl stop {unit}; mkdir -p /etc/systemd/system/{unit}.service.d /home/person /tmp/of-another")
    place.sh(
        f"cat > /etc/systemd/system/{unit}.service.d/probe.conf <<'END'\n{DROP_IN.format(probe=PROBE)}END\n"
        f"touch /home/person/file /tmp/of-another/file; systemctl daemon-reload; systemctl start {unit}"
    )
    found: dict[str, Any] = json.loads(place.sh("cat /root/probe.json"))
    return found


def unconfined(place: Container | Machine) -> dict[str, Any]:
    run = f"systemd-run --quiet --wait -p StandardOutput=truncate:/root/probe.json /usr/bin/python3 -B {PROBE}"
    place.sh(f"mkdir -p /home/person; touch /home/person/file; {run}")
    found: dict[str, Any] = json.loads(place.sh("cat /root/probe.json"))
    return found


def possible(found: dict[str, Any]) -> set[str]:
    return {name for name, outcome in found.items() if outcome == "possible"}


def tried(found: dict[str, Any]) -> set[str]:
    return {name for name in found if " " in name}


@pytest.mark.nspawn
@pytest.mark.parametrize("unit", ["flowpi", "flowpi-asr"])
def test_a_service_can_do_what_is_its_own_and_nothing_else(installed: Container, unit: str) -> None:
    installed.put(GUEST / "probe.py", PROBE)
    found = probe(installed, unit)
    assert possible(found) == OWN[unit]
    # Its process: no rights, no way to get any, no memory image left behind.
    assert {found[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0000000000000000"}
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert found["umask"] == "0o77"
    assert found["core"] == "0"
    assert set(found["Uid"].split()) == {installed.sh("id -u flowpi").strip()}


@pytest.mark.nspawn
def test_with_no_sandbox_it_could(installed: Container) -> None:
    installed.put(GUEST / "probe.py", PROBE)
    installed.sh("mkdir -p /tmp/of-another /boot/firmware; touch /tmp/of-another/file /boot/firmware/file")
    found = unconfined(installed)
    assert tried(found) - possible(found) <= ONLY_ON_A_MACHINE


@pytest.mark.vm
def test_no_device_but_its_own(machine: Machine) -> None:
    """All of it on a kernel of its own, where every device is and every control group works."""
    machine.put((GUEST / "probe.py").read_bytes(), PROBE)
    for unit in OWN:
        assert possible(probe(machine, unit)) == OWN[unit] | DEVICES[unit], unit
    machine.sh("touch /boot/firmware/file; chvt 1 2>/dev/null; true")
    free = unconfined(machine)
    assert tried(free) - possible(free) <= NEVER


@pytest.mark.vm
@pytest.mark.parametrize(("unit", "megabytes"), [("flowpi", 400), ("flowpi-asr", 800)])
def test_no_more_memory_than_its_own(machine: Machine, unit: str, megabytes: int) -> None:
    hog = f"/usr/bin/python3 -c 'bytearray(b\"x\") * ({megabytes} << 20)'"
    machine.sh(f"systemctl stop {unit}; mkdir -p /etc/systemd/system/{unit}.service.d")
    machine.put(
        f"[Service]\nType=oneshot\nExecStart=\nExecStart={hog}\nRestart=no\nMemoryHigh=infinity\n".encode(),
        f"/etc/systemd/system/{unit}.service.d/hog.conf",
    )
    machine.sh("systemctl daemon-reload")
    assert machine.run(f"systemctl start {unit}").code != 0
    assert "killed by the OOM killer" in machine.sh(f"journalctl --no-pager --unit={unit}")
