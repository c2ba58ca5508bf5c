"""A network with levers in user space: delay, loss, duplicates, reordering, a rate, and a cut of each direction.

    with Network() as network:
        network.set(delay_s=0.05, loss=0.2)
        with network.far():
            ...  # what this thread starts is at the other end

It works on kernels without `sch_netem`. The near end is a device in the network namespace of the caller, which should
be one of its own (`alone`); the far end is a device in a new one. A process between them, `python -m tests.rig.netem
NUMBER`, carries the packets: it reads new conditions as lines of JSON, and ends at the end of its input.
"""

import contextlib
import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1400
MOST_AT_ONCE = 64
"""The most packets that are read from one end before the other end is read."""

QUEUE = 1000
"""The most packets that are on their way; more are lost, as in the kernel's netem."""

_libc = ctypes.CDLL(None, use_errno=True)


class Conditions(Struct, frozen=True, forbid_unknown_fields=True):
    """The conditions of the network.

    `loss`, `duplicate`, `reorder` (overtakes all that wait): the probability for each packet in both directions.
    `to_far`, `to_near`: whether a direction carries anything at all. A cut is silent: no end receives an error.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    rate_bytes_s: float | None = None
    to_far: bool = True
    to_near: bool = True


class Counts(Struct):
    """The numbers of packets since the start."""

    carried: int = 0
    lost: int = 0


class Network:
    """A network without faults at first. `number`: its number among several, 0 to 255."""

    def __init__(self, number: int = 0) -> None:
        self.device = f"near{number}"
        self.near_address, self.far_address = f"10.9.{number}.1", f"10.9.{number}.2"
        self._carrier = subprocess.Popen(
            [sys.executable, "-m", "tests.rig.netem", str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._carrier.communicate()

    def set(self, **conditions: Any) -> Counts:
        """Set these conditions and reset all others, see `Conditions`. They are in force when this returns."""
        assert self._carrier.stdin
        self._carrier.stdin.write(msgspec.json.encode(Conditions(**conditions)) + b"\n")
        self._carrier.stdin.flush()
        return self._answer()

    def cut(self, *, to_far: bool = True, to_near: bool = True) -> None:
        """Cut these directions silently."""
        self.set(to_far=not to_far, to_near=not to_near)

    def unplug(self) -> None:
        """Take the link down like a lost wireless network: the kernel reports an error to programs that send."""
        _ip(f"link set {self.device} down")

    def plug_in(self) -> None:
        _ip(f"link set {self.device} up")

    @contextlib.contextmanager
    def far(self) -> Iterator[None]:
        """Move the calling thread, and what it starts, to the far end for the length of a block."""
        with open("/proc/thread-self/ns/net") as here, open(f"/proc/{self._carrier.pid}/ns/net") as there:
            _check(_libc.setns(there.fileno(), CLONE_NEWNET))
            try:
                yield
            finally:
                _check(_libc.setns(here.fileno(), CLONE_NEWNET))

    def _answer(self) -> Counts:
        assert self._carrier.stdout
        line = self._carrier.stdout.readline()
        assert line, "the network did not come up: it needs root and /dev/net/tun"
        return msgspec.json.decode(line, type=Counts)


def alone(module: str, *arguments: str, timeout_s: float, environ: Mapping[str, str] | None = None) -> Any:
    """Run `python -m module` in a network of its own, with mounts and processes that end with it.

    It needs root, or a kernel on which users may make namespaces.

    Args:
        environ: variables besides those of this process.

    Returns:
        The JSON in the last line of its output.
    """
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command += [] if os.geteuid() == 0 else ["--map-root-user"]
    command += [sys.executable, "-m", module, *arguments]
    inherited = os.environ | (environ or {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=inherited)
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(done.stdout.splitlines()[-1])


class Carrier:
    """Carries packets between two TUN devices."""

    def __init__(self, near: int, far: int) -> None:
        self.conditions = Conditions()
        self.counts = Counts()
        self._other = {near: far, far: near}
        self._near = near
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._order = itertools.count()
        self._busy_until = {near: 0.0, far: 0.0}

    def take(self, end: int) -> None:
        """Read the packets that wait at an end, and queue them."""
        for _ in range(MOST_AT_ONCE):
            try:
                packet = os.read(end, MTU)
            except BlockingIOError:
                return
            self._send(end, packet, time.monotonic())

    def _send(self, end: int, packet: bytes, now: float) -> None:
        if packet[0] >> 4 != 4:
            return  # sent by the kernel itself when IPv6 comes up
        conditions = self.conditions
        is_open = conditions.to_far if end == self._near else conditions.to_near
        if not is_open or random.random() < conditions.loss or len(self._queue) >= QUEUE:
            self.counts.lost += 1
            return
        due = now + max(0.0, conditions.delay_s + random.uniform(-1, 1) * conditions.jitter_s)
        if random.random() < conditions.reorder:
            due = now
        if conditions.rate_bytes_s:
            self._busy_until[end] = max(self._busy_until[end], now) + len(packet) / conditions.rate_bytes_s
            due += self._busy_until[end] - now
        for _ in range(2 if random.random() < conditions.duplicate else 1):
            heapq.heappush(self._queue, (due, next(self._order), self._other[end], packet))

    def deliver(self) -> float | None:
        """Deliver the packets that are due; return the seconds until the next, or None if there is none."""
        while self._queue:
            if (left_s := self._queue[0][0] - time.monotonic()) > 0:
                return left_s
            _, _, end, packet = heapq.heappop(self._queue)
            try:
                os.write(end, packet)
                self.counts.carried += 1
            except OSError:  # that end is unplugged
                self.counts.lost += 1
        return None


def carry(number: int) -> None:
    """Carry packets until the input ends. Each line of input is new conditions, answered with the counts."""
    near_address, far_address = f"10.9.{number}.1", f"10.9.{number}.2"
    near = _open_tun(f"near{number}", near_address, far_address)
    _check(_libc.unshare(CLONE_NEWNET))
    far = _open_tun("far", far_address, near_address)
    _ip("link set lo up")
    carrier = Carrier(near, far)
    print("{}", flush=True)
    left_s: float | None = None
    while True:
        ready, _, _ = select.select([near, far, sys.stdin], [], [], left_s)
        for end in ready:
            if isinstance(end, int):
                carrier.take(end)
            elif line := sys.stdin.buffer.readline():  # one line at a time, because its writer waits for the answer
                carrier.conditions = msgspec.json.decode(line, type=Conditions)
                print(msgspec.json.encode(carrier.counts).decode(), flush=True)
            else:
                return
        left_s = carrier.deliver()


def _open_tun(name: str, ours: str, theirs: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    _ip(f"address add {ours} peer {theirs} dev {name}")
    _ip(f"link set {name} up mtu {MTU}")
    return tun


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, stdin=subprocess.DEVNULL)


def _check(code: int) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    carry(int(sys.argv[1]))
