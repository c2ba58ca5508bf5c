"""CPU, wake-ups, memory and bytes on the wire, while streaming and at rest."""

import contextlib
import statistics
import time
from dataclasses import dataclass

from tests.bench.processes import Bench, Client, Daemon, cpu_s, memory_mb, wake_ups
from tests.bench.sink import Session

WARM_UP_S = 3.0
"""The time that is not measured: a stream begins with the pre-roll, the connection and code that runs once."""


@dataclass(frozen=True)
class Streaming:
    """The medians of the rounds, with all programs running at the same time."""

    flowpi_cpu_ms: float
    """The CPU time per second of audio, as are the next two."""
    t1_cpu_ms: float
    pipe_cpu_ms: float
    flowpi_cpu_range_ms: tuple[float, float]
    flowpi_wake_ups: float
    """The wake-ups per second, as are the next two."""
    t1_wake_ups: float
    pipe_wake_ups: float
    flowpi_rss_mb: float
    flowpi_peak_mb: float
    t1_peak_mb: float
    msgpack_wire: float
    """The bytes on the wire for each byte of PCM, without what a dictation costs once."""
    t1_wire: float
    once_bytes: int
    """The bytes that a dictation costs once: upgrade, auth, commit, and the shorter first and last appends."""


def stream(bench: Bench, rounds: int, window_s: float) -> Streaming:
    names = ["flowpi", "t1", "pipe"]
    cpu: dict[str, list[float]] = {name: [] for name in names}
    switches: dict[str, list[float]] = {name: [] for name in names}
    rss, peak, t1_peak, wire, t1_wire = [], [], [], [], []
    once = 0
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            pids: dict[str, list[int]] = {}
            for name in names[number % 3 :] + names[: number % 3]:  # each is the first to start in its turn
                if name == "flowpi":
                    daemon = stack.enter_context(Daemon(bench))
                    client = Client(daemon.socket)
                    pids[name] = [daemon.pid]
                else:
                    pids[name] = stack.enter_context(bench.t1() if name == "t1" else bench.pipe())
            client.record("start")
            time.sleep(WARM_UP_S)
            before = {name: (cpu_s(pids[name]), wake_ups(pids[name])) for name in names}
            began = time.monotonic()
            time.sleep(window_s)
            after = {name: (cpu_s(pids[name]), wake_ups(pids[name])) for name in names}
            seconds = time.monotonic() - began
            for name in names:
                cpu[name].append(1000 * (after[name][0] - before[name][0]) / seconds)
                switches[name].append((after[name][1] - before[name][1]) / seconds)
            client.record("stop")
            resident, highest = memory_mb(daemon.pid)
            rss.append(resident)
            peak.append(highest)
            t1_peak.append(memory_mb(pids["t1"][0])[1])
            session = bench.sink.session()
            assert session.path == "/flowpi"
            wire.append(_wire(session))
            once = session.handshake_bytes + session.wire_bytes - round(session.pcm_bytes * wire[-1])
        session = bench.sink.session()  # that of T1, which has just been killed
        assert session.path == "/t1"
        t1_wire.append(_wire(session))
    return Streaming(
        flowpi_cpu_ms=statistics.median(cpu["flowpi"]),
        t1_cpu_ms=statistics.median(cpu["t1"]),
        pipe_cpu_ms=statistics.median(cpu["pipe"]),
        flowpi_cpu_range_ms=(min(cpu["flowpi"]), max(cpu["flowpi"])),
        flowpi_wake_ups=statistics.median(switches["flowpi"]),
        t1_wake_ups=statistics.median(switches["t1"]),
        pipe_wake_ups=statistics.median(switches["pipe"]),
        flowpi_rss_mb=max(rss),
        flowpi_peak_mb=max(peak),
        t1_peak_mb=max(t1_peak),
        msgpack_wire=statistics.median(wire),
        t1_wire=statistics.median(t1_wire),
        once_bytes=once,
    )


def _wire(session: Session) -> float:
    return session.stream_wire_bytes / session.stream_pcm_bytes


@dataclass(frozen=True)
class Resting:
    """The wake-ups and CPU ms per second of an idle daemon, and the JSON encoding, measured at the same time."""

    preroll_wake_ups: float
    preroll_cpu_ms: float
    closed_wake_ups: float
    closed_cpu_ms: float
    json_wire: float


def rest(bench: Bench, window_s: float) -> Resting:
    json = f"backends.local={{kind: flow, encoding: json, url: '{bench.sink.addresses.flow}/json'}}"
    with Daemon(bench) as preroll, Daemon(bench, "audio.preroll_ms=0") as closed, Daemon(bench, json) as talking:
        client = Client(talking.socket)
        client.record("start")
        time.sleep(WARM_UP_S)
        resting = [[preroll.pid], [closed.pid]]
        before = [(wake_ups(pids), cpu_s(pids)) for pids in resting]
        began = time.monotonic()
        time.sleep(window_s)
        after = [(wake_ups(pids), cpu_s(pids)) for pids in resting]
        seconds = time.monotonic() - began
        client.record("stop")
        session = bench.sink.session()
    (preroll_switches, preroll_cpu), (closed_switches, closed_cpu) = [
        ((late[0] - early[0]) / seconds, 1000 * (late[1] - early[1]) / seconds)
        for early, late in zip(before, after, strict=True)
    ]
    return Resting(preroll_switches, preroll_cpu, closed_switches, closed_cpu, _wire(session))
