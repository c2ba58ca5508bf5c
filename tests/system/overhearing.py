"""The messages that the machine's daemon publishes, recorded by `flowpi listen` in the machine."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.rig.machine import PATIENCE_S, Machine


def listen(machine: Machine, *topics: str) -> None:
    """Write down what is published from now on: the state, which comes at once, shows that somebody listens."""
    machine.background(f"flowpi listen state {' '.join(topics)} > /run/heard", "listener")
    machine.until("[ -s /run/heard ]")


def heard(machine: Machine, topic: str) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in machine.sh("cat /run/heard").splitlines()]
    return [message["payload"] for message in messages if message["topic"] == topic]


def wait_for_state(machine: Machine, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait until the daemon's latest state meets the condition; return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(state := heard(machine, "state")[-1]):
        assert time.monotonic() < deadline, state
        time.sleep(0.2)
    return state


def faults(state: dict[str, Any]) -> set[str]:
    """Return the codes of the faults."""
    return {fault["code"] for fault in state["faults"]}
