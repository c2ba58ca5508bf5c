"""The appliance's other devices, on a real kernel: LEDs on SPI, a pedal, a sound card that is pulled out; and its user
at a terminal, who presses and looks. Dictations wait in the spool here: `test_machine.py` has the recogniser.
"""

import base64
import io
import json
import re
import time
import wave
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from flowpi.core.lights import DARK, KEPT, LISTENING, NO_MICROPHONE, SHUTTING_DOWN, STARTING, Color
from flowpi.doctor.panel import FLASHES
from tests.rig.machine import PATIENCE_S, Edge, Machine
from tests.speech import Recording
from tests.system.overhearing import faults, listen, wait_for_state

pytestmark = pytest.mark.vm

SECOND = 32_000
"""The bytes of a second of int16 mono 16 kHz."""


def use(machine: Machine, configuration: str) -> None:
    """Add to the machine's configuration. No recogniser runs from then on."""
    machine.sh(f"systemctl mask --runtime --now flowpi-asr; echo '{configuration}' >> /etc/flowpi/flowpi.yaml")
    machine.sh("systemctl restart flowpi")


class Shown(NamedTuple):
    at: float
    """The time in the machine's monotonic seconds."""
    color: Color
    """The colour that all LEDs show."""


def shown(machine: Machine, count: int) -> list[Shown]:
    """What a row of `count` APA102 was told by /dev/spidev0.0, as their data sheet says."""
    trace = machine.sh("grep 'spi_transfer_start: spi0.0 ' /sys/kernel/tracing/trace || true")
    found = []
    for match in re.finditer(r" (\d+\.\d+): .* len=(\d+) tx=\[([0-9a-f-]*)\]", trace):
        data = bytes.fromhex(match[3].replace("-", ""))
        start, leds, end = data[:4], data[4 : 4 + 4 * count], data[4 + 4 * count :]
        assert len(data) == int(match[2])
        assert not any(start + end)
        assert len(end) * 8 >= count / 2, "clock pulses to push it through"
        assert leds == leds[:4] * count
        level, blue, green, red = leds[:4]
        assert level >> 5 == 0b111
        found.append(Shown(float(match[1]), Color(*(part / 255 * (level & 31) / 31 for part in (red, green, blue)))))
    return found


def wait_for_leds(machine: Machine, wanted: Callable[[list[Shown]], bool]) -> None:
    """Wait until the three LEDs of a ReSpeaker have shown the colour."""
    deadline = time.monotonic() + PATIENCE_S
    while not wanted(leds := shown(machine, 3)):
        assert time.monotonic() < deadline, leds[-5:]
        time.sleep(0.2)


def wait_for_color(machine: Machine, color: Color, since: float = 0.0) -> None:
    def alike(one: Color) -> bool:
        parts = zip((one.red, one.green, one.blue), (color.red, color.green, color.blue), strict=True)
        return all(abs(part - wanted) < 0.01 for part, wanted in parts)

    wait_for_leds(machine, lambda leds: any(one.at > since and alike(one.color) for one in leds))


def wait_until_ready(machine: Machine) -> None:
    """Dark, and for longer than between the flashes of what starts."""
    wait_for_leds(machine, lambda leds: leds[-1].color == DARK and now(machine) - leds[-1].at > 1.0)


def now(machine: Machine) -> float:
    return float(machine.sh("cut --delimiter=' ' --fields=1 /proc/uptime"))


def test_the_leds_of_a_microphone_board(machine: Machine) -> None:
    use(machine, "board: respeaker-2mic\naudio: {device: default}")  # this machine's card has another name
    wait_for_color(machine, STARTING.color)
    wait_until_ready(machine)
    pressed = machine.press()
    wait_for_color(machine, LISTENING.color, since=pressed)
    released = machine.release()
    wait_for_color(machine, KEPT.color, since=released)
    machine.sh("systemctl stop flowpi")
    wait_for_color(machine, SHUTTING_DOWN.color, since=released)
    assert shown(machine, 3)[-1].color == DARK


PEDAL = b"""\
import sys
from evdev import UInput, ecodes
with UInput({ecodes.EV_KEY: [ecodes.KEY_B]}, name="PCsensor FootSwitch", vendor=0x0C45, product=0x7403) as pedal:
    for line in sys.stdin:
        pedal.write(ecodes.EV_KEY, ecodes.KEY_B, int(line))
        pedal.syn()
"""

KEY = "/dev/input/flowpi-pedal"

EVENT_BYTES = 24


def plug_pedal_in(machine: Machine) -> None:
    machine.put(PEDAL, "/run/pedal.py")
    machine.sh("true > /run/foot")
    machine.background("tail --follow /run/foot | /opt/flowpi/bin/python3 -I /run/pedal.py", "pedal")
    machine.until(f"[ -c {KEY} ]")


def pull_pedal_out(machine: Machine) -> None:
    machine.sh(f"systemctl stop pedal; [ ! -e {KEY} ]")


def wait_until_open(machine: Machine, unit: str) -> None:
    """Wait until the service holds the pedal."""
    process = f"$(systemctl show --property=MainPID --value {unit})"
    machine.until(f"ls -l /proc/{process}/fd | grep $(readlink --canonicalize {KEY})")


def tread(machine: Machine, *, down: bool) -> None:
    machine.sh(f"echo {int(down)} >> /run/foot")


def test_a_pedal(machine: Machine) -> None:
    plug_pedal_in(machine)
    machine.background(f"exec cat {KEY} > /run/typed", "somebody-else")
    wait_until_open(machine, "somebody-else")
    tread(machine, down=True)
    tread(machine, down=False)
    typed = 2 * 2 * EVENT_BYTES  # the key, and that this was all
    machine.until(f"[ $(stat --format=%s /run/typed) -eq {typed} ]")

    use(machine, f"button: {{kind: evdev, device: {KEY}, key: KEY_B, mode: hold}}")
    listen(machine)
    wait_until_open(machine, "flowpi")

    tread(machine, down=True)
    wait_for_state(machine, lambda state: state["state"] == "recording")
    tread(machine, down=False)
    wait_for_state(machine, lambda state: state["state"] != "recording")
    assert machine.sh("stat --format=%s /run/typed") == f"{typed}\n", "it types no more"

    tread(machine, down=True)
    wait_for_state(machine, lambda state: state["state"] == "recording")
    pull_pedal_out(machine)
    wait_for_state(machine, lambda state: state["state"] != "recording" and "button" in faults(state))
    plug_pedal_in(machine)
    wait_for_state(machine, lambda state: "button" not in faults(state))
    tread(machine, down=True)
    wait_for_state(machine, lambda state: state["state"] == "recording")


CARD = "snd_aloop.0 > /sys/bus/platform/drivers/snd_aloop"


def pull_card_out(machine: Machine) -> None:
    """Pull the sound card out and wait until no program holds it."""
    machine.sh(f"systemctl stop rig-room; timeout 60 sh -c 'echo {CARD}/unbind'")


def plug_card_in(machine: Machine) -> None:
    machine.sh(f"echo {CARD}/bind; systemctl start rig-room")


def blinks_twice(edges: list[Edge]) -> bool:
    """Two flashes, and again."""
    dark_s = [after.at - before.at for before, after in pairwise(edges) if before.level == 0][-6:]
    short_s, long_s = (seconds for level, seconds in NO_MICROPHONE.steps[1::2])
    middle_s = (short_s + long_s) / 2
    return len(dark_s) == 6 and all((one < middle_s) != (next_ < middle_s) for one, next_ in pairwise(dark_s))


def is_deaf(state: dict[str, Any]) -> bool:
    return "microphone" in faults(state)


def kept(machine: Machine) -> list[bytes]:
    """Return the sound of the dictations that wait for their text, oldest first."""
    machine.sh("mkdir /root/kept; flowpi spool export --to /root/kept")
    sounds = []
    for encoded in machine.sh("for file in /root/kept/*.wav; do base64 --wrap=0 $file; echo; done").split():
        with wave.open(io.BytesIO(base64.b64decode(encoded))) as file:
            sounds.append(file.readframes(file.getnframes()))
    return sounds


def share_heard(said: bytes, sound: bytes) -> float:
    """How many tenths of a second of what was said are in it, sample for sample."""
    pieces = [said[at : at + SECOND // 10] for at in range(0, len(said), SECOND // 10)]
    return sum(piece in sound for piece in pieces) / len(pieces)


def test_the_card_is_pulled_out(machine: Machine, sentence: Recording) -> None:
    machine.sh("systemctl mask --runtime --now flowpi-asr")
    listen(machine)

    pull_card_out(machine)
    wait_for_state(machine, is_deaf)
    assert "not ready; " in machine.sh("systemctl status flowpi")
    machine.wait_for_edges(blinks_twice, since=0.0)
    plug_card_in(machine)
    wait_for_state(machine, lambda state: not is_deaf(state))

    said = sentence.pcm[: 2 * SECOND]
    machine.press()
    machine.say(said)
    pull_card_out(machine)
    wait_for_state(machine, lambda state: is_deaf(state) and state["state"] != "recording")
    machine.release()
    plug_card_in(machine)
    wait_for_state(machine, lambda state: not is_deaf(state))
    machine.press()
    machine.say(said)
    machine.release()
    wait_for_state(machine, lambda state: state["spooled"] == 2)
    first, second = kept(machine)
    assert share_heard(said[:SECOND], first) > 0.8
    assert share_heard(said[:SECOND], second) > 0.8


def ask_person(machine: Machine) -> None:
    """Let the doctor ask at a terminal, whose text is /run/terminal; what is in /run/typed is typed there."""
    machine.sh("rm -f /run/terminal /run/code; true > /run/typed")
    command = "script --quiet --return --flush --command 'flowpi doctor --panel --json' /run/terminal"
    machine.background(f"tail --follow /run/typed | {command}; echo $? > /run/code", "doctor")
    machine.until("grep 'Press the button now' /run/terminal")


def findings(machine: Machine) -> tuple[int, dict[str, str]]:
    """Its exit code, and what it found: code by part; of what it tried, what came of that."""
    code = int(machine.until("[ -s /run/code ] && cat /run/code"))
    text = machine.sh("cat /run/terminal")
    found, _ = json.JSONDecoder().raw_decode(text[text.index("[\r\n") :])
    return code, {finding["part"]: finding["code"] for finding in found}


def test_the_doctor_says_what_there_is_and_asks_for_a_press_and_a_look(machine: Machine) -> None:
    pull_card_out(machine)
    ask_person(machine)  # nobody presses
    code, found = findings(machine)
    assert code == 2
    assert (found["microphone"], found["button"], found["LED"]) == ("absent", "not_pressed", "skipped")

    plug_card_in(machine)
    machine.sh("systemctl stop flowpi")  # it has the LED
    ask_person(machine)
    pressed = machine.press()
    machine.until("grep 'Did the LED flash' /run/terminal")
    assert [edge.level for edge in machine.edges(since=pressed)].count(1) == FLASHES
    machine.sh("echo y >> /run/typed")
    _, found = findings(machine)
    assert (found["microphone"], found["button"], found["LED"]) == ("works", "works", "works")
