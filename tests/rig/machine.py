"""A whole computer with a kernel, a GPIO chip and a sound card of its own, and a mains plug: QEMU.

It has no network. Its three disks are the system, `/var/lib/flowpi`, and a FAT disk at `/boot/firmware`. What the
machine has not flushed when the power fails is lost. It is emulated, some ten times slower than this machine, and a
sleep of 2 ms may take 30: give times by its own clock, and never to the millisecond.
"""

import base64
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.rig.container import WITH_THIS_PROCESS, Done

PATIENCE_S = 300.0
"""The time limit of every wait."""

BUTTON_PIN, LED_PIN = 17, 27
BOOT_S = 900.0
"""The time limit of the first boot: an emulated computer that shares two cores with a whole test run is slow."""

DISKS = ("system", "data", "boot")

BOOT = (
    "console=ttyS0 quiet root=/dev/vda rw mitigations=off nokaslr audit=0 systemd.show_status=0 tsc=reliable "
    "no_timer_check panic=-1"
)
"""The kernel's command line. Without `tsc=reliable` it would distrust an emulated TSC, and read the time from a device,
which is four times as slow. Without `no_timer_check` it counts the ticks of an emulated timer while this computer is
busy, finds too few, and panics. A panic ends the machine, and with it the wait for its answer."""


class Edge(NamedTuple):
    at: float
    """A change of a line, in the machine's monotonic seconds."""
    level: int


class Machine:
    def __init__(self, kernel: Path, work: Path, more: str = "") -> None:
        """
        Args:
            kernel: a directory with `vmlinuz` and `initrd`.
            work: a directory with the disks, `NAME.qcow2`, which are changed.
            more: more words of the kernel's command line.
        """
        self._work = work
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._unread = b""
        self.console = work / "console.log"
        self._command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        self._command += ["-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2"]
        self._command += ["-m", "1024", "-kernel", f"{kernel}/vmlinuz", "-initrd", f"{kernel}/initrd"]
        self._command += ["-append", f"{BOOT} {more}"]
        for disk in DISKS:
            self._command += ["-drive", f"file={work}/{disk}.qcow2,if=virtio,format=qcow2,cache=none"]
        self._command += ["-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"]
        self._command += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
        self._command += ["-chardev", f"socket,id=channel,path={work}/channel,server=on,wait=off"]
        self._command += ["-device", "virtserialport,chardev=channel,nr=1,name=channel"]
        self._command += ["-qmp", f"unix:{work}/qmp,server=on,wait=off"]

    # Its plug

    def start(self, state: str | None = None) -> Self:
        """Boot until the machine answers (about 15 s), or resume a saved state (about 1 s)."""
        for name in ("channel", "qmp"):
            (self._work / name).unlink(missing_ok=True)
        with (self._work / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*WITH_THIS_PROCESS, *self._command, *(["-loadvm", state] if state else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not (self._work / "channel").exists():
                assert self._process.poll() is None, (self._work / "qemu.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(self._work / "channel"))
            self._unread = b""
            self.sh("true", BOOT_S)
        except BaseException:
            self.power_cut()
            raise
        return self

    def power_cut(self) -> None:
        """Pull the plug. The disks keep what was flushed to them."""
        if self._process and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._socket:
            self._socket.close()
        self._process = self._socket = None

    def save(self, state: str) -> None:
        """Save the memory and the disks as they are now, in the files of the disks."""
        complaint = self._monitor("human-monitor-command", **{"command-line": f"savevm {state}"})
        assert not complaint, complaint

    def _monitor(self, execute: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(PATIENCE_S)
            monitor.connect(f"{self._work}/qmp")
            lines = monitor.makefile("rb")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": execute, "arguments": arguments}):
                monitor.sendall(json.dumps(request).encode() + b"\n")
                while "event" in (answer := json.loads(lines.readline())):
                    pass
                assert "return" in answer, answer
            return answer["return"]

    # What happens in it

    def _ask(self, patience_s: float = PATIENCE_S, **request: Any) -> Any:
        assert self._socket, "it is off"
        self._socket.settimeout(patience_s + 60)
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        while b"\n" not in self._unread:
            try:
                more = self._socket.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"no answer: {self._console_end()}") from None
            assert more, f"the machine ended: {self._console_end()}"
            self._unread += more
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def _console_end(self) -> str:
        return self.console.read_text(errors="replace")[-4000:]

    def run(self, script: str, timeout_s: float = PATIENCE_S) -> Done:
        """Run a shell script as root in the machine to its end; the exit code is 124 after a timeout."""
        answer = self._ask(timeout_s, script=script, timeout_s=timeout_s)
        return Done(answer["code"], answer["out"])

    def sh(self, script: str, timeout_s: float = PATIENCE_S) -> str:
        """Return the output of a script that must end with 0."""
        done = self.run(script, timeout_s)
        assert done.code == 0, f"exit code {done.code}: {script}\n{done.out}"
        return done.out

    def until(self, script: str, timeout_s: float = PATIENCE_S) -> str:
        """Run a script repeatedly until it ends with 0; return its output."""
        loop = f"until out=$({{ {script}; }} 2> /dev/null); do sleep 0.5; done"
        return self.sh(f"{loop}; printf '%s' \"$out\"", timeout_s)

    def put(self, content: bytes, inside: str) -> None:
        self._ask(write=inside, content=base64.b64encode(content).decode())

    def background(self, script: str, name: str) -> None:
        """Start a script as a unit of its own, and return while it runs."""
        self.sh(f"systemd-run --quiet --unit={name} --collect /bin/bash -c {shlex.quote(script)}")

    # Its levers

    def press(self, pin: int = BUTTON_PIN) -> float:
        """Close the button, which grounds its line; return when, in the machine's monotonic seconds."""
        return self.pull([(pin, 0, 0.0)])[0]

    def release(self, pin: int = BUTTON_PIN) -> float:
        return self.pull([(pin, 1, 0.0)])[0]

    def pull(self, steps: Sequence[tuple[int, int, float]]) -> list[float]:
        """Pull lines to levels; return when each was done.

        Args:
            steps: (pin, level, seconds after the step before).
        """
        duration_s = sum(seconds for _, _, seconds in steps)
        at: list[float] = self._ask(PATIENCE_S + duration_s, pull=steps)["at"]
        return at

    def say(self, pcm: bytes) -> None:
        """Speak int16 mono 16 kHz into the microphone. Returns half a second early, before the last of it is played."""
        self.put(pcm, "/run/rig/say")
        self.sh("while [ -e /run/rig/say ]; do sleep 0.1; done")

    def edges(self, pin: int = LED_PIN, since: float = 0.0) -> list[Edge]:
        """Return the first level of a line and its changes, as its kernel recorded them. A released line is 0."""
        base = "cat /sys/devices/platform/gpio-sim.0/gpiochip0/../gpio/*/base"
        found = self.run(f"{base} 2> /dev/null && grep gpio_ /sys/kernel/tracing/trace").out
        if not found:
            return []  # it is booting, and has no chip yet
        base, _, trace = found.partition("\n")
        number = int(base) + pin
        edges: list[Edge] = []
        for match in re.finditer(r" (\d+\.\d+): gpio_(?:value|direction): (\d+) +(?:set (\d)|in )", trace):
            edge = Edge(float(match[1]), int(match[3] or 0))
            if int(match[2]) == number and edge.at >= since and (not edges or edges[-1].level != edge.level):
                edges.append(edge)
        return edges

    def wait_for_edges(self, wanted: Callable[[list[Edge]], bool], *, since: float, pin: int = LED_PIN) -> list[Edge]:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(edges := self.edges(pin, since)):
            assert time.monotonic() < deadline, edges
            time.sleep(0.2)
        return edges

    def __enter__(self) -> Self:
        return self.start() if self._process is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.power_cut()
