"""The appliance from its package alone, on a computer of its own: its button is pressed, its room is spoken into, its
light is looked at, its plug is pulled. Times are the machine's own, which is some ten times slower than a Pi.
"""

import json
from itertools import pairwise
from typing import Any

import pytest

from flowpi.core.lights import WORKING
from tests.appliance.overhearing import heard, listen
from tests.rig.machine import BUTTON_PIN, Edge, Machine
from tests.speech import Recording, word_error_rate

pytestmark = pytest.mark.vm

TRANSCRIPTS = "cat /var/lib/flowpi/transcripts/*.jsonl"
READY = "systemctl is-active flowpi flowpi-asr"

LATE_S = 1.5
"""So long after a press or a release the light may change, and speech may be under way to the microphone."""

AFTER_A_BOOT_S = 900.0
"""The recogniser loads, and what waits is tried again at longer and longer intervals."""

PRESSES = 100
BOUNCE = (0, 1, 0, 1, 0)
"""The levels of a contact that closes."""


def dictate(machine: Machine, sentence: Recording) -> tuple[float, float]:
    """Press, speak, release; when it was pressed and when released."""
    pressed = machine.press()
    machine.say(sentence.pcm)
    machine.sh(f"sleep {LATE_S}")
    return pressed, machine.release()


def texts(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def blinks(edges: list[Edge], since: float) -> bool:
    return len([edge for edge in edges if edge.at > since]) >= 8


def test_it_boots_to_ready_with_no_network_and_no_login(new_machine: Machine) -> None:
    new_machine.start()
    new_machine.until(READY)
    assert new_machine.sh("ls /sys/class/net").split() == ["lo"]
    assert new_machine.sh("who") == ""
    assert new_machine.sh("systemctl show --property=NRestarts --value flowpi flowpi-asr").split() == ["0", "0"]
    assert new_machine.sh("stat --format=%A /run/flowpi/flowpi.sock")[0] == "s"
    # It is dark when it is ready, after it has shown that it starts.
    assert [edge.level for edge in new_machine.edges()][-1] == 0


def test_a_dictation_from_the_button_to_the_text(machine: Machine, sentence: Recording) -> None:
    listen(machine, "transcript/final")
    pressed, released = dictate(machine, sentence)
    (text,) = texts(machine.until(TRANSCRIPTS))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    assert not text["late"]
    assert text["backend"] == "local"
    machine.until("grep transcript/final /run/heard")
    assert heard(machine, "transcript/final") == [text]

    edges = machine.wait_for_edges(lambda edges: blinks(edges, released), since=pressed)
    lit = next(edge for edge in edges if edge.level == 1)
    dark = next(edge for edge in edges if edge.at > lit.at)
    assert lit.at < pressed + LATE_S, "it is lit while it listens"
    assert dark.at > released, "and steadily"
    period_s = sum(seconds for _, seconds in WORKING.steps)
    working = [edge.at for edge in edges if edge.at > released + period_s and edge.level == 1][:4]
    periods = [later - earlier for earlier, later in pairwise(working)]
    assert all(period_s / 2 < period < period_s * 3 for period in periods), "then it blinks while it works"
    at_last = machine.wait_for_edges(lambda edges: edges[-1].level == 0, since=pressed)
    assert at_last[-1].level == 0


def test_a_power_cut_while_it_works_loses_no_word(machine: Machine, sentence: Recording) -> None:
    _, released = dictate(machine, sentence)
    machine.wait_for_edges(lambda edges: blinks(edges, released), since=released)
    assert machine.run(TRANSCRIPTS).code != 0, "the text came before the cut"
    machine.power_cut()
    machine.start()
    machine.until(READY)
    (text,) = texts(machine.until(TRANSCRIPTS, AFTER_A_BOOT_S))
    assert word_error_rate(sentence.text, text["text"]) <= 0.25
    assert text["late"]


def test_a_hundred_presses_with_bounce(machine: Machine) -> None:
    """The contact bounces as fast as it can here. That and the look at it may be stretched, so the filter is slow."""
    machine.sh("echo 'button: {debounce_ms: 200}' >> /etc/flowpi/flowpi.yaml")
    machine.sh("systemctl mask --runtime --now flowpi-asr; systemctl restart flowpi")
    machine.until("systemctl is-active flowpi")
    listen(machine, "event/button")
    steps = []
    for _ in range(PRESSES):
        steps += [(BUTTON_PIN, level, 0.0 if number else 0.8) for number, level in enumerate(BOUNCE)]
        steps += [(BUTTON_PIN, 1 - level, 0.0 if number else 1.0) for number, level in enumerate(BOUNCE)]
    machine.pull(steps)
    machine.sh("sleep 5")
    kinds = [payload["kind"] for payload in heard(machine, "event/button")]
    assert kinds.count("pressed") == PRESSES
    assert kinds.count("released") == PRESSES
