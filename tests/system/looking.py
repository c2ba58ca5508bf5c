"""Helpers that read the machine's LED, in the machine's own time."""

import time

from flowpi.core.lights import Pattern
from tests.rig.eye import LOOK_S, seen
from tests.rig.machine import Edge, Machine

PATIENCE_S = 120.0


def now(machine: Machine) -> float:
    """Return the machine's monotonic time in seconds."""
    return float(machine.sh("cut --delimiter=' ' --fields=1 /proc/uptime"))


def wait_until_lit(machine: Machine, since: float) -> Edge:
    """Wait until the LED is lit after `since`; return that change."""
    edges = machine.wait_for_edges(lambda edges: any(edge.level for edge in edges), since=since)
    return next(edge for edge in edges if edge.level)


def wait_until_seen(machine: Machine, pattern: Pattern, since: float = 0.0) -> None:
    """Wait until the pattern has lasted for the time of a look after `since`."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        until = now(machine)
        edges = machine.edges()
        if until - LOOK_S >= since and seen(edges, until - LOOK_S, until) is pattern:
            return
        assert time.monotonic() < deadline, f"not {pattern.name!r}: {edges[-20:]}"
        time.sleep(0.5)
