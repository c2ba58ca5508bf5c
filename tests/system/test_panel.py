"""The panel's table on a real line: each pattern is brought about by what it stands for, and read from the LED's edges.

Those of a dictation that goes well are in `test_machine.py`.
"""

import pytest

from flowpi.core.lights import (
    CONFIGURATION,
    KEPT,
    MUTED_LIGHT,
    NO_BACKEND,
    NO_MICROPHONE,
    NO_NETWORK,
    READY,
    SHUTTING_DOWN,
    STARTED,
    STARTING,
    TROUBLE,
)
from tests.rig.eye import may_be, moments, seen
from tests.rig.machine import BUTTON_PIN, Machine
from tests.system.looking import now, wait_until_lit, wait_until_seen

pytestmark = pytest.mark.vm

JUST_S = 0.05
STARTED_S = sum(seconds for _, seconds in STARTED.steps)

FULL = "/var/lib/flowpi/full"

ITS_OWN = "device_id: panel\n"

FAR = """\
dictation: {backends: [far]}
backends: {far: {kind: flow, url: "wss://192.0.2.1/api/v1/dash/ws", api_key: a-key}}
"""


def configure(machine: Machine, content: str) -> None:
    machine.sh(f"cat > /etc/flowpi/flowpi.yaml <<'END'\n{content}END")


def reload(machine: Machine, content: str) -> None:
    """Reload the configuration and wait until it is in use."""
    configure(machine, content)
    done = "journalctl --no-pager --unit=flowpi | grep --count 'configuration reloaded'"
    before = int(machine.run(done).out)
    machine.sh("systemctl reload flowpi")
    machine.until(f"[ $({done}) -gt {before} ]")


def say_nothing(machine: Machine) -> float:
    """A dictation of a second; when it ended."""
    return machine.pull([(BUTTON_PIN, 0, 0.0), (BUTTON_PIN, 1, 1.0)])[-1]


def test_the_table(machine: Machine) -> None:
    """Cause and fix one fault after the other."""
    machine.sh("systemctl mask --runtime --now flowpi-asr")
    wait_until_seen(machine, READY)

    began = now(machine)
    machine.sh("systemctl stop flowpi")
    stopping = machine.edges(since=began)
    lit, *_, dark = stopping
    assert may_be(SHUTTING_DOWN, stopping, lit.at - JUST_S, dark.at - JUST_S)

    configure(machine, "led: {pinn: 27}\n")
    assert machine.run("systemctl start flowpi").code != 0
    wait_until_seen(machine, CONFIGURATION, since=began)

    configure(machine, ITS_OWN)
    machine.sh("systemctl stop flowpi-signal")
    began = now(machine)
    machine.sh("systemctl start flowpi")
    lit = wait_until_lit(machine, since=began)
    wait_until_seen(machine, READY, since=lit.at + STARTED_S)
    assert seen(machine.edges(), lit.at - JUST_S, lit.at + STARTED_S - JUST_S) is STARTING

    ended = say_nothing(machine)
    wait_until_seen(machine, NO_BACKEND, since=ended)
    assert [moment for _, moment in moments(machine.edges(), since=ended)] == [KEPT]

    machine.sh(f"cat /dev/zero > {FULL} 2> /dev/null || true")
    ended = say_nothing(machine)
    wait_until_seen(machine, TROUBLE, since=ended)
    machine.sh(f"rm {FULL}")
    ended = say_nothing(machine)
    wait_until_seen(machine, NO_BACKEND, since=ended)

    reload(machine, FAR)
    ended = say_nothing(machine)
    wait_until_seen(machine, NO_NETWORK, since=ended)

    reload(machine, ITS_OWN + "audio: {device: nonesuch}\n")
    wait_until_seen(machine, NO_MICROPHONE)

    reload(machine, ITS_OWN)
    tap_and_hold = [(BUTTON_PIN, 0, 0.0), (BUTTON_PIN, 1, 0.1), (BUTTON_PIN, 0, 0.1), (BUTTON_PIN, 1, 10.5)]
    ended = machine.pull(tap_and_hold)[-1]
    wait_until_seen(machine, MUTED_LIGHT, since=ended)
