"""Days in minutes: the whole daemon on a loop whose time runs faster, among faults of all kinds.

    python -m tests.reliability.soak ROUNDS ROUND_S

It prints as JSON what happened to all dictations, and one measurement of the process after each round. A round is
`ROUND_S` seconds of the loop's time with dictations and faults; then all faults are ended, the backlog is delivered,
and the process is measured. The backend is another process, in real time. Sockets, threads and disk are real too: the
time that they need counts `FASTER` times. Run it in namespaces of its own: see `netem.alone`.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from flowpi.appliance import daemon
from flowpi.audio import sources
from flowpi.audio.capture import LATE_S
from flowpi.audio.source import Heard
from flowpi.audio.wav import WavSource
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.schema import (
    AudioSettings,
    ButtonSettings,
    Config,
    DictationSettings,
    FilesSettings,
    PublishSettings,
    SocketSettings,
    SpoolSettings,
)
from flowpi.core import topics
from flowpi.core.appliance import Recording
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from flowpi.panel.button import ScriptedButton
from flowpi.panel.led import RecordingLed
from flowpi.publish.hub import Message

FASTER = 72.0
ADDRESS = "127.0.0.1:8477"
DISK_MB = 48
PERIOD_S = 0.02
EVERY_S = 3.1
"""The approximate time from one press to the next: some twenty thousand a day, less those without a microphone."""

FAULTS_A_ROUND = 3
"""How often each kind of fault happens in a round."""

SETTLE_S = 3 * 3600.0
"""The time limit for the backlog: what is not delivered by then never will be. Attempts are a minute apart."""


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds are sixtieths of real ones and begin at 0."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        super().__init__(_FastSelector())

    def time(self) -> float:
        return (time.monotonic() - self._began) * FASTER


class _FastSelector(selectors.EpollSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout / FASTER if timeout else timeout)


class CountingMicrophone(WavSource):
    """A microphone whose samples are the number of their frame since the loop began, modulo 65536.

    Its levers are `unplug` and `plug_in`.
    """

    def __init__(self) -> None:
        super().__init__("counting")
        self.unplugged_at = 0.0
        """The time at which it was unplugged last."""
        self.is_there = True
        self._next: int | None = None

    def unplug(self, now: float) -> None:
        self.is_there = False
        self.unplugged_at = now

    def plug_in(self) -> None:
        self.is_there = True

    def open(self, now: float) -> None:
        if not self.is_there:
            raise MicrophoneError(self.name, "No such device")
        self._next = self._frame(now)

    def read(self, now: float) -> list[Heard]:
        if self._next is None:
            raise MicrophoneError(self.name, "it is not open")
        until = self._frame(now if self.is_there else self.unplugged_at)
        if until <= self._next and not self.is_there:
            self.close()
            raise MicrophoneError(self.name, "No such device")
        heard = np.arange(self._next, until).astype("<u2").tobytes()
        self._next = max(until, self._next)
        return [heard] if heard else []

    def due(self, after: float) -> float:
        return (int(after / PERIOD_S) + 1) * PERIOD_S

    def close(self) -> None:
        self._next = None

    @staticmethod
    def _frame(at: float) -> int:
        return int(at / PERIOD_S) * round(PERIOD_S * RATE_HZ)


class Backend:
    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.reliability.counting_server", ADDRESS],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def reset(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGURG)


class Soak:
    """One daemon and its faults.

    `directory`: a directory on a small disk of its own.
    `log`: a file for a line of each dictation, so that nothing in here grows with time.
    """

    def __init__(self, directory: Path, log: TextIO) -> None:
        self._directory = directory
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._socket = directory / "flowpi.sock"
        self._button = ScriptedButton()
        self._microphone = CountingMicrophone()
        self._backend = Backend()
        self._leap_s = 0.0
        self._stood_still_at = float("-inf")
        self._spooled = 0
        self.faults: dict[str, int] = {}
        self.samples: list[dict[str, float]] = []
        began_s = time.time()
        # The wall clock of the whole process runs as fast as the loop, and it leaps.
        time.time = lambda: began_s + self._loop.time() + self._leap_s
        # The microphone is the one driver that is no argument of the daemon.
        sources.make_source = lambda config: self._microphone
        config = Config(
            device_id="soak",
            audio=AudioSettings(source="wav", path="counting"),
            button=ButtonSettings(kind="none", mode="hold"),
            dictation=DictationSettings(backends=("house",)),
            backends={"house": FlowSettings(f"ws://{ADDRESS}/api/v1/dash/client_ws")},
            publish=PublishSettings(
                socket=SocketSettings(str(self._socket)),
                files=FilesSettings(str(directory / "transcripts"), keep_days=36_500),
            ),
            spool=SpoolSettings(str(directory / "spool")),
        )
        self._daemon = daemon.Daemon(config, button=self._button, led=RecordingLed(lambda brightness: None))

    async def run(self, rounds: int, round_s: float) -> None:
        self._backend.start()
        running = asyncio.create_task(self._daemon.run(), name="daemon")
        await self._daemon.settled.wait()
        self._daemon.hub.subscribe([topics.STATE], self._take_state)
        for _ in range(rounds):
            await self._round(round_s)
            await self._settle()
            self.samples.append(self._measure())
        self._daemon.stop()
        await running
        self._backend.kill()

    def _take_state(self, message: Message, retained: bool) -> None:
        self._spooled = message.payload.spooled

    async def _round(self, round_s: float) -> None:
        """Dictate with faults for a time. At its end all faults are cancelled, which repairs what they broke."""
        mean_s = round_s / FAULTS_A_ROUND
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(round_s), asyncio.TaskGroup() as tasks:
                tasks.create_task(self._dictate(), name="finger")
                tasks.create_task(self._notice_stalls(), name="stalls")
                for fault in (
                    self._backend_killed,
                    self._connections_reset,
                    self._microphone_unplugged,
                    self._disk_full,
                    self._clock_leaps,
                    self._client_comes_and_goes,
                    self._client_does_not_read,
                ):
                    tasks.create_task(self._again_and_again(fault, mean_s), name=fault.__name__)

    async def _again_and_again(
        self, fault: Callable[[], contextlib.AbstractAsyncContextManager[None]], mean_s: float
    ) -> None:
        while True:
            await asyncio.sleep(min(random.expovariate(1 / mean_s), 1.5 * mean_s))
            name = fault.__name__.removeprefix("_")
            self.faults[name] = self.faults.get(name, 0) + 1
            async with fault():
                await asyncio.sleep(random.uniform(0, mean_s / 2))

    async def _dictate(self) -> None:
        while True:
            await asyncio.sleep(random.uniform(0.3, 2 * EVERY_S - 2.3))
            pressed_at = self._loop.time()
            was_there = self._microphone.is_there  # the daemon notices at the next read that it is gone
            self._button.press(pressed_at)
            # If the machine stalls for 17 ms, a second of the loop passes, and a press then has no full pre-roll.
            pressed_at = max(pressed_at, self._loop.time() - LATE_S)
            state = self._daemon.state
            try:
                await asyncio.sleep(random.uniform(0.5, 1.5))
            finally:
                self._button.release(released_at := self._loop.time())
                if isinstance(state, Recording):  # otherwise there was no microphone
                    unplugged_at = self._microphone.unplugged_at
                    is_short = not was_there or pressed_at < unplugged_at < released_at
                    until = unplugged_at if is_short else released_at
                    stood_still = int(self._stood_still_at > pressed_at - LATE_S)
                    self._log.write(f"{state.utterance} {pressed_at} {until} {stood_still}\n")

    async def _notice_stalls(self) -> None:
        """Note when the machine stalls: 17 ms are a second of the loop, and the time of the speech is unknown then."""
        while True:
            before = self._loop.time()
            await asyncio.sleep(0.1)
            if self._loop.time() - before > 0.1 + LATE_S:
                self._stood_still_at = self._loop.time()

    # Each fault breaks something when it is entered, and repairs it when it is left.

    @contextlib.asynccontextmanager
    async def _backend_killed(self) -> AsyncIterator[None]:
        self._backend.kill()
        try:
            yield
        finally:
            self._backend.start()

    @contextlib.asynccontextmanager
    async def _connections_reset(self) -> AsyncIterator[None]:
        self._backend.reset()
        yield

    @contextlib.asynccontextmanager
    async def _microphone_unplugged(self) -> AsyncIterator[None]:
        self._microphone.unplug(self._loop.time())
        try:
            yield
        finally:
            self._microphone.plug_in()

    @contextlib.asynccontextmanager
    async def _disk_full(self) -> AsyncIterator[None]:
        filler = os.open(self._directory / "filler", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):
                while True:
                    os.write(filler, bytes(1 << 20))
            yield
        finally:
            os.ftruncate(filler, 0)
            os.close(filler)

    @contextlib.asynccontextmanager
    async def _clock_leaps(self) -> AsyncIterator[None]:
        self._leap_s = random.choice((40 * 86_400.0, -730 * 86_400.0, -3600.0, 0.0))
        yield

    @contextlib.asynccontextmanager
    async def _client_comes_and_goes(self) -> AsyncIterator[None]:
        """A client that reads, and disconnects in the middle of a line."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(b'{"subscribe": ["#"]}\n')
            for _ in range(50):
                await reader.readline()
            writer.write(b'{"comm')
            yield
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def _client_does_not_read(self) -> AsyncIterator[None]:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._socket))
            client.send(b'{"subscribe": ["#"]}\n')
            yield

    async def _settle(self) -> None:
        """Wait until the text of everything that was said is published."""
        self._log.flush()
        await asyncio.sleep(20)
        async with asyncio.timeout(SETTLE_S):
            while self._spooled or any((self._directory / "spool").glob("*.utt")):  # noqa: ASYNC110
                await asyncio.sleep(1)
        await asyncio.sleep(20)

    def _measure(self) -> dict[str, float]:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps after a long backlog is no leak
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return {
            "day": self._loop.time() / 86_400,
            "rss_mib": pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
        }


def account(log: Path, transcripts: Path) -> dict[str, Any]:
    """Compare all dictations with their texts; the lists should be empty."""
    texts: dict[str, str] = {}
    twice: list[str] = []
    late = partial = 0
    for file in transcripts.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            final = json.loads(line)
            if final["id"] in texts:
                twice.append(final["id"])
            texts[final["id"]] = final["text"]
            late += final["late"]
            partial += final.get("partial", False)
    spoken = [line.split() for line in log.read_text().splitlines()]
    return {
        "dictations": len(spoken),
        "texts": len(texts),
        "late": late,
        "cut_short": partial,
        "lost": [one for one, *_ in spoken if one not in texts],
        "stood_still": sum(still == "1" for *_, still in spoken),
        "twice": twice,
        "wrong": [
            f"{one} {pressed} {until}: {texts[one]}"
            for one, pressed, until, still in spoken
            if one in texts and still == "0" and not is_whole(texts[one], float(pressed), float(until))
        ],
    }


def is_whole(text: str, pressed_at: float, until: float) -> bool:
    """Whether the backend heard each frame from the press to `until`."""
    first, count, breaks = map(int, text.split())
    pressed = int(pressed_at * RATE_HZ)
    first += round((pressed - first) / 65_536) * 65_536
    return breaks == 0 and first <= pressed and first + count >= (until - PERIOD_S) * RATE_HZ


def main(rounds: int, round_s: float) -> None:
    logging.getLogger().addHandler(logging.NullHandler())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as name:
        log, disk = Path(name, "log"), Path(name, "disk")
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "soak", str(disk)], check=True)

        async def soak(file: TextIO) -> Soak:
            soak = Soak(disk, file)
            await soak.run(rounds, round_s)
            return soak

        try:
            with log.open("w") as file, asyncio.Runner(loop_factory=FastLoop) as runner:
                done = runner.run(soak(file))
            found = account(log, disk / "transcripts")
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    print(json.dumps(found | {"faults": done.faults, "samples": done.samples}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
