"""Many dictations at a time at one recogniser: how late the final texts are, how often texts come, and what it costs.

    python -m tests.bench.crowd [--sessions N] [--seconds S] [--rounds N] [--cpus N] [PYTHON...]

The recogniser is `flowpi serve` in a process of its own, on one CPU or as many as are wanted. PYTHON is the interpreter
of a checkout's virtual environment: with several, they take turns, so that whatever else the machine does weighs on all
of them.

Each of the N speaks pieces of human speech in real time, 3, 10 or 20 s long and cut anywhere, in appends of a second,
with short rests. What is measured begins when all of them speak. A run counts only if others, which includes the
speakers, had next to nothing of the recogniser's CPUs: `others` says what they had.
"""

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import websockets

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.wire.flow import FlowClient
from flowpi.wire.roles import FinalText, PartialText, SessionReady
from tests.bench.processes import cpu_s, memory_mb
from tests.speech import two_cities
from tests.waiting import PATIENCE_S, wait_for

SECOND = RATE_HZ * FRAME_BYTES
PIECES_S = (3, 10, 20)
RESTS_S = (0.2, 1.5)
WARM_UP_S = 8.0
"""In this time they begin, one after the other."""

AS_IN_THE_UNIT = {"MALLOC_ARENA_MAX": "2"}

SERVE = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv.pop(1).split(',')));"
    "from flowpi.cli.main import main; sys.exit(main())"
)


@dataclass(frozen=True)
class Result:
    sessions: int
    dictations: int
    final_p50_ms: float
    """From sending the commit to receiving the final text."""
    final_p95_ms: float
    texts_per_s: float
    """Interim texts for a second of audio."""
    cpus: int
    """How many the recogniser may use."""
    cores: float
    """How many of them it used."""
    others: float
    """How many of them others used, or the host of a virtual machine took away."""
    cpu_ms_per_s: float
    """The CPU time for a second of audio: with interim texts, which take what is left."""
    rss_idle_mb: float
    """Loaded, before the first session."""
    rss_first_mb: float
    """The least in the first half of the time: what stays, without what the decodes of a moment use."""
    rss_second_mb: float
    """The least in the second half."""
    rss_peak_mb: float

    @property
    def used(self) -> float:
        """The share of the CPU time left by others that the recogniser used."""
        return self.cores / (self.cpus - self.others)


@dataclass
class Tally:
    """What the speakers noted since all of them speak."""

    counting: bool = False
    delays_ms: list[float] = field(default_factory=list)
    texts: int = 0
    audio_s: float = 0.0


async def dictate(url: str, pcm: bytes, tally: Tally) -> None:
    """Dictate whole seconds in real time."""
    client, loop = FlowClient(), asyncio.get_running_loop()
    async with websockets.connect(
        f"{url}/api/v1/dash/ws", additional_headers=client.headers, compression=None, open_timeout=None
    ) as link:

        async def flush() -> None:
            for frame in client.data_to_send():
                await link.send(frame)

        async def final() -> float:
            async for frame in link:
                for event in client.receive(frame):
                    match event:
                        case PartialText():
                            tally.texts += tally.counting
                        case FinalText():
                            return loop.time()
            raise AssertionError("closed without a final")

        client.open()
        await flush()
        assert client.receive(await link.recv()) == [SessionReady()]
        began_s = loop.time()
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(final())
            for at in range(0, len(pcm), SECOND):
                await asyncio.sleep(began_s + (at + SECOND) / SECOND - loop.time())
                client.append(pcm[at : at + SECOND])
                await flush()
                tally.audio_s += tally.counting
            client.commit(b"")
            await flush()
            committed_s = loop.time()
    if tally.counting:
        tally.delays_ms.append(1000 * (ending.result() - committed_s))


async def speak(url: str, number: int, tally: Tally) -> None:
    """Dictate one piece after the other until cancelled."""
    choose = random.Random(number)
    await asyncio.sleep(choose.uniform(0, WARM_UP_S))
    speech = two_cities().pcm
    while True:
        length = choose.choice(PIECES_S) * SECOND
        start = choose.randrange(0, len(speech) - length, FRAME_BYTES)
        await dictate(url, speech[start : start + length], tally)
        await asyncio.sleep(choose.uniform(*RESTS_S))


def busy_s(cpus: Sequence[int]) -> float:
    """Return the time for which CPUs have not been idle since the boot, in seconds of one CPU, to the clock tick."""
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in [f"cpu{number}" for number in cpus]:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def recogniser(python: str, cpus: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Run the recogniser of a checkout on some CPUs, and yield its URL and pid when it serves."""
    with tempfile.TemporaryDirectory(prefix="flowpi-bench-") as directory:
        log = Path(directory, "log")
        options = ["serve", "-c", os.devnull, "--listen", "127.0.0.1:0", "-o", "server.max_sessions=200"]
        with log.open("w") as file:
            command = [python, "-c", SERVE, ",".join(map(str, cpus)), *options]
            environment = os.environ | AS_IN_THE_UNIT
            process = subprocess.Popen(command, cwd=directory, stdout=file, stderr=file, env=environment)
        try:
            serving = re.compile(r"serving .*(ws://127\.0\.0\.1:\d+)")
            wait_for(lambda: serving.search(log.read_text()) or process.poll() is not None)
            found = serving.search(log.read_text())
            assert found, log.read_text()
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


async def _watched_mb(pid: int, seconds: float) -> list[float]:
    """Return the resident memory in MB, ten times a second."""
    watched_mb = list[float]()
    for _ in range(int(10 * seconds)):
        watched_mb.append(memory_mb(pid)[0])
        await asyncio.sleep(0.1)
    return watched_mb


async def _measure(url: str, pid: int, cpus: Sequence[int], sessions: int, seconds: float) -> Result:
    tally, loop = Tally(), asyncio.get_running_loop()
    rss_idle_mb, _ = memory_mb(pid)
    async with asyncio.TaskGroup() as group:
        speakers = [group.create_task(speak(url, number, tally)) for number in range(sessions)]
        await asyncio.sleep(WARM_UP_S)
        tally.counting = True
        began_s, used_s, all_s = loop.time(), cpu_s([pid]), busy_s(cpus)
        halves_mb = [await _watched_mb(pid, seconds / 2) for _ in range(2)]
        tally.counting = False
        lasted_s, used_s, all_s = loop.time() - began_s, cpu_s([pid]) - used_s, busy_s(cpus) - all_s
        _, rss_peak_mb = memory_mb(pid)
        for speaker in speakers:
            speaker.cancel()
    cuts = statistics.quantiles(tally.delays_ms, n=20, method="inclusive")
    return Result(
        sessions=sessions,
        dictations=len(tally.delays_ms),
        final_p50_ms=cuts[9],
        final_p95_ms=cuts[18],
        texts_per_s=tally.texts / tally.audio_s,
        cpus=len(cpus),
        cores=used_s / lasted_s,
        others=max(0.0, all_s - used_s) / lasted_s,
        cpu_ms_per_s=1000 * used_s / tally.audio_s,
        rss_idle_mb=rss_idle_mb,
        rss_first_mb=min(halves_mb[0]),
        rss_second_mb=min(halves_mb[1]),
        rss_peak_mb=rss_peak_mb,
    )


def measure(sessions: int, seconds: float, python: str = sys.executable, *, cpus: int = 1) -> Result:
    """Measure on the last `cpus` of the CPUs that there are. It takes `WARM_UP_S` longer than `seconds`."""
    chosen = sorted(os.sched_getaffinity(0))[-cpus:]
    with recogniser(python, chosen) as (url, pid):
        return asyncio.run(_measure(url, pid, chosen, sessions, seconds))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.crowd", description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("python", nargs="*", type=os.path.abspath, default=[sys.executable])
    options = parser.parse_args(arguments)
    for _ in range(options.rounds):
        for python in options.python:
            load = os.getloadavg()[0]
            r = measure(options.sessions, options.seconds, python, cpus=options.cpus)
            print(
                f"{python}: {r.sessions} sessions, {r.dictations} finals, p50 {r.final_p50_ms:.0f} ms, "
                f"p95 {r.final_p95_ms:.0f} ms, {r.texts_per_s:.2f} texts/s, "
                f"{r.cores:.2f} cores (others {r.others:.2f}), {r.cpu_ms_per_s:.1f} ms for a second, "
                f"RSS {r.rss_idle_mb:.0f} -> {r.rss_first_mb:.0f} -> {r.rss_second_mb:.0f} MB, "
                f"peak {r.rss_peak_mb:.0f} MB (load {load:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
