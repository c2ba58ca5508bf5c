"""The machine as a desk: flowpi's keyboard, and a program of the computer that it types into, which is the same one.

By `uinput` the keyboard is this machine's own; by `hid` a USB cable leads from it to itself (dummy_hcd).
"""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from flowpi.publish.messages import rfc3339
from tests.keyboard.computer import Computer
from tests.rig.image import CARD
from tests.rig.machine import Machine

HERE = Path(__file__).parent
EVENTS, REPORT = "/run/typing/events", "/run/typing/report"
UDC = "dummy_udc.0"
CABLE = f"/sys/class/udc/{UDC}/soft_connect"
GADGET = "/sys/kernel/config/usb_gadget/flowpi/UDC"
USB = "/sys/bus/usb/devices"
USBHID = "/sys/bus/usb/drivers/usbhid"

END = "...\n"
"""What ends the configuration on the card."""


class Seen(NamedTuple):
    """What a reader has seen: the keys that changed, what is down at the end, and how often events were dropped."""

    events: list[tuple[int, bool]]
    down: set[int]
    dropped: int

    def parts(self, presses: list[int]) -> list["Seen"]:
        """Return what was seen of texts that were typed one after the other, by how many keys went down for each."""
        parts, rest = [], self.events
        for count in presses:
            ups = downs = index = 0
            while index < len(rest) and (downs < count or ups < downs):
                ups, downs = ups + (not rest[index][1]), downs + rest[index][1]
                index += 1
            parts.append(Seen(rest[:index], set(), 0))
            rest = rest[index:]
        return parts

    @property
    def presses(self) -> int:
        return sum(down for _, down in self.events)

    def text(self, layout: str, variant: str = "") -> str:
        """Return the text that a computer with this layout makes of it."""
        computer = Computer(layout, variant)
        for code, down in self.events:
            computer.move(code, down=down)
        return computer.text


class Desk:
    """A machine whose keyboard types what a test says."""

    def __init__(self, machine: Machine, kind: str) -> None:
        """
        Args:
            machine: one that was furnished for this kind, or is now.
            kind: `uinput` or `hid`.
        """
        self.machine = machine
        self.kind = kind
        self._number = 0
        self._first_line = 1

    def furnish(self, *, talker: bool) -> None:
        """Plug the keyboard in, with a reader that writes down its events, and wait until it can type.

        Args:
            talker: put a daemon in the place of flowpi's that says what it is told. Without flowpi's, which hears all
                the time, the machine is much faster.
        """
        machine = self.machine
        self._configure()
        if talker:
            machine.sh("systemctl stop flowpi flowpi-asr rig-room")
        else:
            machine.sh("systemctl reload flowpi")
            machine.until("journalctl --unit=flowpi | grep 'configuration reloaded'")
        for name in ("reader.py", "talker.py"):
            machine.put((HERE / name).read_bytes(), f"/root/{name}")
        machine.sh("mkdir -p /run/typing")
        if talker:
            machine.sh("systemd-run --quiet --unit=talker --property=Restart=always python3 /root/talker.py")
        if self.kind == "hid":
            machine.sh("modprobe dummy_hcd")
            machine.until(f"test -e /sys/class/udc/{UDC}")
        machine.background(f"exec python3 /root/reader.py {EVENTS}", "reader")
        machine.sh("systemctl restart flowpi-gadget flowpi-keyboard")
        if talker:
            self.until_open()
        else:
            machine.until('flowpi status --json | grep \'"name": *"keyboard"[^}]*"state": *"open"\'')

    def _configure(self) -> None:
        settings = json.dumps({"kind": self.kind, "layout": "us"})
        config = f"{CARD.removesuffix(END)}publish: {{keyboard: {settings}}}\n"
        self.machine.put(config.encode(), "/etc/flowpi/flowpi.yaml")
        self.machine.sh("chown root:flowpi /etc/flowpi/flowpi.yaml && chmod 640 /etc/flowpi/flowpi.yaml")

    def type_all(self, texts: list[tuple[str, str, str]]) -> None:
        """Type texts as the service would, each in a layout: (its name, its variant, the text)."""
        self.machine.sh("systemctl stop flowpi-keyboard; chmod a+rx /run/typing; chmod a+r /run/typing/events")
        self.machine.put((HERE / "typing_all.py").read_bytes(), "/run/typing/typing_all.py")
        words = ["/opt/flowpi/bin/python3", "/run/typing/typing_all.py", self.kind, json.dumps(texts)]
        self.machine.sh(shlex.join(words))

    def until_open(self) -> None:
        """Wait until the keyboard reports that it can type, and the reader reads it."""
        self.machine.until(f'grep \'"state": *"open"\' {REPORT}')
        self.machine.until(f"grep -E 'open|gone' {EVENTS} | tail -n 1 | grep open")

    def publish(self, topic: str, payload: Any) -> None:
        self.machine.sh(shlex.join(["python3", "/root/talker.py", topic, json.dumps(payload)]))

    def say(self, text: str) -> None:
        """Publish a text, which has just been made."""
        self._number += 1
        now = float(self.machine.sh("date +%s.%N"))
        made = {"started_at": rfc3339(now - 2), "duration_s": 1.0, "final_after_s": 1.0}
        name = {"id": f"{self._number:026}", "part": 1, "language": None, "backend": "local", "late": False}
        self.publish("transcript/final", {**name, **made, "text": text})

    def until_reported(self, pattern: str) -> dict[str, Any]:
        """Wait until the last report of the keyboard has a pattern; return the report."""
        report: dict[str, Any] = json.loads(self.machine.until(f"grep '{pattern}' {REPORT}"))
        return report

    # What the reader has seen since `clear`.

    def clear(self) -> None:
        self._first_line = int(self.machine.sh(f"wc --lines < {EVENTS}")) + 1

    def seen(self) -> Seen:
        events: list[tuple[int, bool]] = []
        down: set[int] = set()
        dropped = 0
        for line in self.machine.sh(f"tail --lines=+{self._first_line} {EVENTS}").splitlines():
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
        """Wait until so many keys have gone down."""
        self.machine.until(f"test $(tail --lines=+{self._first_line} {EVENTS} | grep -c ' 1$') -ge {presses}")

    def rested(self) -> Seen:
        """Wait until the keyboard has typed nothing for a second."""
        self.machine.until(f"was=$(stat -c %s {EVENTS}); sleep 1; test $was = $(stat -c %s {EVENTS})")
        return self.seen()

    # The computer's end of the cable.

    def pull_cable(self) -> None:
        self.machine.sh(f"echo disconnect > {CABLE}")

    def plug_cable(self) -> None:
        self.machine.sh(f"echo connect > {CABLE}")

    def remove_gadget(self) -> None:
        """Take the keyboard from its controller, and with it the device that is typed into."""
        self.machine.sh(f"echo > {GADGET}")

    def bring_gadget_back(self) -> None:
        self.machine.sh(f"echo {UDC} > {GADGET}")

    def set_configuration(self, number: int) -> None:
        self.machine.sh(f"echo {number} > $(dirname $(grep -l 'flowpi keyboard' {USB}/*/product))/bConfigurationValue")

    def stop_polling(self) -> None:
        """Take the driver of the keyboard away: nobody fetches reports, as when the computer sleeps."""
        self.machine.sh(f"cd {USBHID} && ls -d [0-9]*:* > /run/typing/interface && cat /run/typing/interface > unbind")

    def poll_again(self) -> None:
        self.machine.sh(f"cat /run/typing/interface > {USBHID}/bind")
