"""The appliance from its package alone, on an emulated computer: the tests press its button, speak into its microphone,
read its LED and cut its power. Times are the machine's own, which is some ten times slower than a Pi.
"""

import json
from typing import Any

import pytest

from flowpi.config.schema import ButtonSettings
from flowpi.core.lights import DELIVERED, LISTENING, READY, WORKING
from tests.rig.eye import moments, seen
from tests.rig.machine import BUTTON_PIN, Machine
from tests.speech import Recording, word_error_rate
from tests.system.looking import wait_until_seen
from tests.system.overhearing import heard, listen
from tests.system.talking import FINAL

pytestmark = pytest.mark.vm

LATE_S = 1.5
"""So long after a press or a release the light may change, and speech may be under way to the microphone."""

AFTER_A_BOOT_S = 900.0
"""The recogniser loads, and what waits is tried again at longer and longer intervals."""

AT_ONCE, PRESSES = 10, 100
BOUNCE = (0, 1, 0, 1, 0)
"""The levels of a contact that closes."""
DOWN_S, UP_S = 0.1, 0.15


def dictate(machine: Machine, sentence: Recording) -> tuple[float, float]:
    """Press, speak, release; when it was pressed and when released."""
    pressed = machine.press()
    machine.say(sentence.pcm)
    machine.sh(f"sleep {LATE_S}")
    return pressed, machine.release()


def texts(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_a_dictation_from_the_button_to_the_text(machine: Machine, sentence: Recording) -> None:
    listen(machine, "transcript/final")
    wait_until_seen(machine, READY)
    pressed, released = dictate(machine, sentence)
    (text,) = texts(machine.until(FINAL))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    assert not text["late"]
    assert text["backend"] == "local"
    machine.until("grep transcript/final /run/heard")
    assert heard(machine, "transcript/final") == [text]

    wait_until_seen(machine, READY, since=released)
    edges = machine.edges(since=pressed)
    lit, dark = edges[:2]
    assert lit.at < pressed + LATE_S
    assert seen(edges, lit.at, released) is LISTENING
    ((delivered, moment),) = moments(edges, since=released)
    assert moment is DELIVERED
    assert released < dark.at < released + LATE_S
    assert seen(edges, released + LATE_S, delivered) is WORKING


def test_a_power_cut_while_it_works_loses_no_word(machine: Machine, sentence: Recording) -> None:
    _, released = dictate(machine, sentence)
    wait_until_seen(machine, WORKING, since=released)
    assert machine.run(FINAL).code != 0, "the text came before the cut"
    machine.power_cut()
    machine.start()
    (text,) = texts(machine.until(FINAL, AFTER_A_BOOT_S))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    assert text["late"]


def test_a_hundred_presses_with_bounce(machine: Machine) -> None:
    """A contact that bounces for longer than the filter takes is one that was pressed twice; here a computer may be too
    busy to bounce in time, and the presses are made anew.
    """
    machine.sh("systemctl mask --runtime --now flowpi-asr")
    listen(machine, "event/button")
    steps = []
    for _ in range(AT_ONCE):
        steps += [(BUTTON_PIN, level, 0.0 if number else UP_S) for number, level in enumerate(BOUNCE)]
        steps += [(BUTTON_PIN, 1 - level, 0.0 if number else DOWN_S) for number, level in enumerate(BOUNCE)]
    counted = 0
    while counted < PRESSES:
        before = len(heard(machine, "event/button"))
        at = machine.pull(steps)
        slowest_s = max(end - begin for begin, end in zip(at[::5], at[4::5], strict=True))
        machine.sh("sleep 1")  # nobody says when nothing more comes
        if slowest_s < ButtonSettings().debounce_ms / 1000:
            kinds = [payload["kind"] for payload in heard(machine, "event/button")[before:]]
            assert kinds.count("pressed") == AT_ONCE
            assert kinds.count("released") == AT_ONCE
            counted += AT_ONCE


QUOTA = "systemctl set-property --runtime flowpi-asr CPUQuota={}"
COUNTED_IN_THE_UNIT = """
sh -c 'echo $$ > /sys/fs/cgroup/system.slice/flowpi-asr.service/cgroup.procs
exec nsenter --target $(systemctl show --property=MainPID --value flowpi-asr) --mount \
    /opt/flowpi/bin/python3 -c "from flowpi.host.cpus import usable_cpus; print(usable_cpus())"'
"""
"""Joins the control group of the recogniser and sees the files that it sees. Its start would take a minute here."""


def test_the_recogniser_counts_the_cpus_of_its_quota(machine: Machine) -> None:
    machine.until("systemctl is-active flowpi-asr")
    counted = []
    for quota in ("150%", "50%"):
        machine.sh(QUOTA.format(quota))
        counted.append(machine.sh(COUNTED_IN_THE_UNIT))
    assert counted == ["2\n", "1\n"]
