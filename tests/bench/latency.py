"""The delays that a user notices: press to sound at server, release to commit, text to subscriber, start to ready."""

import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.processes import Bench, Client, Daemon
from tests.waiting import PATIENCE_S

RATE_HZ = 16_000

FLOOR = (
    "import asyncio, websockets.asyncio.client, alsaaudio, msgpack, os, socket;"
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])"
)


@dataclass(frozen=True)
class Spread:
    p50: float
    p95: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1) + 0.5)], ordered[-1])


@dataclass(frozen=True)
class Dictations:
    """The delays of one daemon's dictations in ms, at any phase of the microphone's periods."""

    count: int
    first_press_ms: float
    """From the press to the first packet, of the daemon's first dictation."""
    press_to_packet: Spread
    release_to_commit: Spread
    final_to_subscriber: Spread
    heard_before_press_ms: float
    """The least of all but one in twenty: a command that the machine delayed by 50 ms is no press at that time."""
    lost_before_release_ms: float
    """The most of the speech before the release that the server did not receive; below 0 if there is a post-roll."""
    missing_frames: int


def dictate(bench: Bench, count: int, *settings: str) -> tuple[Dictations, Dictations]:
    """Return the delays of flowpi and of the shortest program that does the same, with alternating dictations."""
    dice = random.Random(0)
    with Daemon(bench, *settings) as daemon, bench.relay() as relay:
        talkers = Talker(bench, daemon.socket), Talker(bench, relay)
        time.sleep(1.0)  # the first press does not happen in the first second after the start
        for _ in range(count):
            for talker in talkers:
                talker.dictate(dice)
        flowpi, floor = (talker.result() for talker in talkers)
    return flowpi, floor


class Talker:
    """Presses the button of one program, and reads its texts."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self._sink = bench.sink
        self._button, self._subscriber = Client(path), Client(path)
        self._subscriber.subscribe("transcript/final")
        self._press: list[float] = []
        self._release: list[float] = []
        self._text: list[float] = []
        self._before: list[float] = []
        self._lost: list[float] = []
        self._missing = 0

    def dictate(self, dice: random.Random) -> None:
        time.sleep(dice.uniform(0.2, 0.5))
        pressed = self._button.record("start")
        time.sleep(dice.uniform(0.3, 0.6))
        released = self._button.send({"command": "record", "action": "stop", "request": 2})
        self._subscriber.read()
        heard = time.monotonic()
        assert self._button.read()["ok"]
        session = self._sink.session()
        self._press.append(1000 * (session.first_append_at - pressed))
        self._release.append(1000 * (session.commit_at - released))
        self._text.append(1000 * (heard - session.final_at))
        self._before.append(_frames(session.first_sample, pressed) * 1000 / RATE_HZ)
        self._lost.append(_frames(session.last_sample + 1, released) * 1000 / RATE_HZ)
        self._missing += session.missing_frames

    def result(self) -> Dictations:
        return Dictations(
            count=len(self._press),
            first_press_ms=self._press[0],
            press_to_packet=spread(self._press),
            release_to_commit=spread(self._release),
            final_to_subscriber=spread(self._text),
            heard_before_press_ms=sorted(self._before)[(len(self._before) - 1) // 20],
            lost_before_release_ms=max(self._lost),
            missing_frames=self._missing,
        )


def _frames(sample: int, moment: float) -> int:
    """Return the number of frames from the one with this clock number to `moment`; below 0 if it came later."""
    return (int(moment * RATE_HZ) - sample + 0x8000) % 0x10000 - 0x8000


@dataclass(frozen=True)
class Start:
    """The medians of the time from the start of a process to its READY for the service manager, in ms."""

    defaults_ms: float
    """The start of the daemon without a configuration."""
    configured_ms: float
    """The start with settings, so that it reads YAML."""
    floor_ms: float
    """The start of an interpreter that only imports what any such daemon needs."""


def start(bench: Bench, rounds: int) -> Start:
    defaults, configured, floor = [], [], []
    with Daemon(bench):  # fills the byte code cache, as an installation does
        pass
    for _ in range(rounds):
        with Daemon(bench, config=False) as daemon:
            defaults.append(1000 * (daemon.ready_at - daemon.spawned_at))
            time.sleep(0.5)  # the imports that follow READY must not overlap with the next start
        with Daemon(bench) as daemon:
            configured.append(1000 * (daemon.ready_at - daemon.spawned_at))
            time.sleep(0.5)
        floor.append(1000 * _floor_s(bench))
    return Start(statistics.median(defaults), statistics.median(configured), statistics.median(floor))


def _floor_s(bench: Bench) -> float:
    address = bench.fresh_directory() / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.settimeout(PATIENCE_S)
        notify.bind(str(address))
        began = time.monotonic()
        with subprocess.Popen([sys.executable, "-c", FLOOR], env={**bench.environ, "NOTIFY_SOCKET": str(address)}):
            notify.recv(4096)
            return time.monotonic() - began
