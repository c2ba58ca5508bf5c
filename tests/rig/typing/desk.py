"""The machine as a desk: flowpi's keyboard, and a program of the computer that it types into, which is the same one.

By `uinput` the keyboard is this machine's own; by `hid` a USB cable leads from it to itself (dummy_hcd).
"""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from flowpi.publish.messages import rfc3339
from tests.keyboard.computer import Computer
from tests.rig.machine import Machine

HERE = Path(__file__).parent
UDC = "dummy_udc.0"
GADGET = "/sys/kernel/config/usb_gadget/flowpi/UDC"
USB = "/sys/bus/usb/devices"

CONFIG = """\
device_id: kitchen
dictation: {{backends: [local], first_result_timeout_s: 300}}
backends: {{local: {{kind: flow, url: "ws+unix:///run/flowpi/asr.sock"}}}}
publish: {{keyboard: {keyboard}}}
"""


class Seen(NamedTuple):
    """What a reader has seen: the keys that changed, what is down at the end, and how often events were dropped."""

    events: list[tuple[int, bool]]
    down: set[int]
    dropped: int

    def text(self, layout: str, variant: str = "") -> str:
        """Return the text that a computer with this layout makes of it."""
        computer = Computer(layout, variant)
        for code, down in self.events:
            computer.move(code, down=down)
        return computer.text


class Desk:
    """A machine whose keyboard types texts that a test says, or a person at its button."""

    def __init__(self, machine: Machine, kind: str) -> None:
        self.machine = machine
        self.kind = kind
        self._number = 0
        for name in ("reader.py", "talker.py"):
            machine.put((HERE / name).read_bytes(), f"/root/{name}")
        machine.sh("mkdir -p /run/typing")
        if kind == "hid":
            machine.sh("modprobe dummy_hcd")
            machine.until(f"test -e /sys/class/udc/{UDC}")

    def configure(self, *, talker: bool = True, **keyboard: Any) -> None:
        """Start the keyboard with these settings, with a daemon that says what it is told, or with flowpi's."""
        machine = self.machine
        settings = json.dumps({"kind": self.kind, "layout": "us", **keyboard})
        machine.put(CONFIG.format(keyboard=settings).encode(), "/etc/flowpi/flowpi.yaml")
        machine.sh("chown root:flowpi /etc/flowpi/flowpi.yaml && chmod 640 /etc/flowpi/flowpi.yaml")
        if talker:
            machine.sh("systemctl stop flowpi flowpi-asr")
            self.start_talker()
        else:
            machine.sh("systemctl restart flowpi")
        machine.background("exec python3 /root/reader.py /run/typing/events", "reader")
        machine.sh("systemctl restart flowpi-gadget flowpi-keyboard")
        machine.until("grep open /run/typing/events")
        self.until_open()

    def start_talker(self) -> None:
        self.machine.background("exec python3 /root/talker.py", "talker")
        self.machine.until("test -S /run/typing/control")

    def until_open(self) -> None:
        """Wait until the keyboard reports to the daemon that it can type."""
        self.machine.until("""grep '"state": *"open"' /run/typing/report || systemctl is-active flowpi""")

    def publish(self, topic: str, payload: Any) -> None:
        words = ["python3", "/root/talker.py", topic, json.dumps(payload)]
        self.machine.sh(shlex.join(words))

    def say(self, text: str) -> None:
        """Publish a text, which has just been made."""
        self._number += 1
        now = float(self.machine.sh("date +%s.%N"))
        made = {"started_at": rfc3339(now - 2), "duration_s": 1.0, "final_after_s": 1.0}
        name = {"id": f"{self._number:026}", "part": 1, "language": None, "backend": "local", "late": False}
        self.publish("transcript/final", {**name, **made, "text": text})

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.machine.sh("cat /run/typing/report"))
        return report

    def seen(self) -> Seen:
        events: list[tuple[int, bool]] = []
        down: set[int] = set()
        dropped = 0
        for line in self.machine.sh("cat /run/typing/events").splitlines():
            words = line.split()
            if words[0] in ("open", "gone"):
                events += [(code, False) for code in down]
                down = set()
            elif words[0] == "dropped":
                dropped += 1
                now = {int(word) for word in words[1:]}
                events += [(code, False) for code in down - now]
                down = now
            elif words[1] != "2":
                code, is_down = int(words[0]), words[1] == "1"
                events.append((code, is_down))
                down = down | {code} if is_down else down - {code}
        return Seen(events, down, dropped)

    def until_typed(self, presses: int) -> None:
        """Wait until so many keys have gone down since the start, and the keyboard rests."""
        self.machine.until(f"test $(grep -c ' 1$' /run/typing/events) -ge {presses}")
        self.machine.until(
            "was=$(stat -c %s /run/typing/events); sleep 1; test $was = $(stat -c %s /run/typing/events)"
        )

    # The computer's end of the cable.

    def pull_cable(self) -> None:
        self.machine.sh(f"printf '\\n' > {GADGET}")

    def plug_cable(self) -> None:
        self.machine.sh(f"printf {UDC} > {GADGET}")

    def set_configuration(self, number: int) -> None:
        self.machine.sh(f"echo {number} > $(dirname $(grep -l 'flowpi keyboard' {USB}/*/product))/bConfigurationValue")

    def stop_polling(self) -> None:
        """Take the driver of the keyboard away: nobody fetches reports, as when the computer sleeps."""
        self.machine.sh(
            f"cd {USB}/../drivers/usbhid && ls -d [0-9]*:* > /run/typing/interface"
            " && for one in $(cat /run/typing/interface); do printf $one > unbind; done"
        )

    def poll_again(self) -> None:
        self.machine.sh(
            f"cd {USB}/../drivers/usbhid && for one in $(cat /run/typing/interface); do printf $one > bind; done"
        )
