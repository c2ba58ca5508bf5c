"""The pins on a real kernel: what an open button costs while nobody presses it, and what becomes of errors."""

import re
import time
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import pytest

from flowpi.core.lights import LISTENING, READY
from tests.rig.machine import BUTTON_PIN, LED_PIN, PATIENCE_S, Machine
from tests.system.looking import now, wait_until_lit, wait_until_seen

pytestmark = pytest.mark.vm

PYTHON = "/opt/flowpi/bin/python3 -I"

LOOK_S, LOOKS = 20, 3
"""The time of a look at an idle daemon, and how many there are."""

BUSY = 0.4
"""The part of the time that the daemon runs while it still imports: it was started, and is not idle yet."""

MORE_SWITCHES, MORE_CPU = 3.0, 0.04
"""How much an open button may add to the context switches a second, and to the CPU time, of an idle daemon. The library
that was used before polled: it added a thousand, and a tenth. An emulated machine on a busy computer is less exact.
"""

COUNT = """\
cat /proc/$(systemctl show --property=MainPID --value flowpi)/task/*/{status,schedstat} |
    awk '/ctxt_switches/ { switches += $2 } NF == 3 && $1 ~ /^[0-9]+$/ { ns += $1 }
        END { printf "%.0f %.0f ", switches, ns }'
cut --delimiter=' ' --fields=1 /proc/uptime
"""


class Cost(NamedTuple):
    switches: float
    """The context switches of all threads in a second."""
    cpu: float
    """The part of the time that the daemon runs."""


def configure(machine: Machine, **sections: str) -> None:
    """Start the daemon with sections of the configuration added, and wait until it has nothing more to do."""
    machine.sh("cp --no-clobber --preserve=all /etc/flowpi/flowpi.yaml /run/flowpi.yaml")
    lines = "".join(f"{name}: {value}\n" for name, value in sections.items())
    machine.sh(f"cp --preserve=all /run/flowpi.yaml /etc/flowpi/; printf '{lines}' >> /etc/flowpi/flowpi.yaml")
    machine.sh("systemctl restart flowpi")
    deadline = time.monotonic() + PATIENCE_S
    while (cost := look(machine)).cpu > BUSY:
        assert time.monotonic() < deadline, cost


def look(machine: Machine) -> Cost:
    """Return the cost of the daemon from now on."""
    found = machine.sh(f"{COUNT}\nsleep {LOOK_S}\n{COUNT}").split()
    switches, ns, at, more_switches, more_ns, then = map(float, found)
    return Cost((more_switches - switches) / (then - at), (more_ns - ns) / 1e9 / (then - at))


def idle_cost(machine: Machine) -> Cost:
    """Return the cost of the idle daemon: the median of some looks, as this computer is busy too."""
    looks = [look(machine) for _ in range(LOOKS)]
    return Cost(median(look.switches for look in looks), median(look.cpu for look in looks))


def test_an_open_button_costs_nothing_while_nobody_presses_it(machine: Machine) -> None:
    configure(machine, button="{kind: none}")
    without = idle_cost(machine)
    configure(machine)
    wait_until_seen(machine, READY)
    with_it = idle_cost(machine)
    pressed = machine.press()
    wait_until_lit(machine, since=pressed)  # it was open
    machine.release()
    print(f"idle: without a button {without}, with one {with_it}")
    assert with_it.switches <= without.switches + MORE_SWITCHES
    assert with_it.cpu <= without.cpu + MORE_CPU


def test_a_dimmed_led_is_dimmed_and_costs_nothing_while_it_is_dark(machine: Machine) -> None:
    """How bright exactly is a matter of milliseconds, which it has not here: `tests/panel/test_dimming.py`."""
    configure(machine, led="{brightness: 0.25}")
    wait_until_seen(machine, READY)
    cost = idle_cost(machine)
    pressed = machine.press()
    since = wait_until_lit(machine, since=pressed).at
    machine.sh("sleep 5")
    until = now(machine)
    edges = [edge for edge in machine.edges() if since <= edge.at <= until]
    lit_s = sum(after.at - before.at for before, after in pairwise(edges) if before.level)
    machine.release()
    assert 0.05 < lit_s / (edges[-1].at - since) < 0.5
    assert len(edges) <= 2 * 100 * (until - since) + 2, "at most a hundred pulses a second"
    assert cost.switches < 50, "dark, it is not woken a hundred times a second"
    assert LISTENING.steps == ((1.0, LISTENING.steps[0][1]),)


RAISES = f"""\
import asyncio
from flowpi.panel.gpio import GpioButton

async def main():
    def tell(loop, context):
        print(repr(context["exception"]), flush=True)

    asyncio.get_running_loop().set_exception_handler(tell)
    button = GpioButton({{None: {BUTTON_PIN}}}, active_low=True)

    def report(line, pressed, at):
        print("pressed" if pressed else "released", flush=True)
        if pressed:
            raise ZeroDivisionError

    button.open(report)
    print("open", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_callback_that_raises_does_not_cost_the_next_press(machine: Machine) -> None:
    machine.sh("systemctl stop flowpi")
    machine.put(RAISES.encode(), "/run/raises.py")
    machine.background(f"exec {PYTHON} /run/raises.py > /run/told", "raises")
    machine.until("grep open /run/told")
    machine.pull([(BUTTON_PIN, level, 0.05) for level in (0, 1) * 3])
    machine.until("[ $(grep --count released /run/told) -eq 3 ]")
    assert machine.sh("cat /run/told").split() == ["open", *["pressed", "ZeroDivisionError()", "released"] * 3]


HOLDS = f"""\
import time, gpiod
with gpiod.request_lines("/dev/gpiochip0", consumer="somebody", config={{{LED_PIN}: None}}):
    print("holds it", flush=True)
    time.sleep(1000)
"""


def test_who_has_a_pin_is_told(machine: Machine) -> None:
    machine.sh("systemctl stop flowpi")
    machine.put(HOLDS.encode(), "/run/holds.py")
    machine.background(f"exec {PYTHON} /run/holds.py > /run/told", "holds")
    machine.until("grep holds /run/told")
    answer = machine.run("flowpi light ready")
    assert answer.code == 69
    assert f"the LED on GPIO {LED_PIN} cannot be used (somebody is using it): " in answer.out
    found = machine.run("flowpi doctor").out
    assert re.search(rf"GPIO {LED_PIN} cannot be used \(somebody is using it\)", found)
    machine.sh("systemctl stop holds; systemctl start flowpi")
    wait_until_seen(machine, READY)
    answer = machine.run("flowpi light ready")
    assert "(flowpi is using it): while the daemon runs it has the LED" in answer.out
