"""CPU, wake-ups, memory and bytes on the wire, while streaming and at rest."""

import contextlib
import statistics
import time
from dataclasses import dataclass

from tests.bench.processes import Bench, Client, Daemon, cpu_s, memory_mb, wake_ups
from tests.bench.sink import Session

WARM_UP_S = 3.0
"""The time that is not measured: a stream begins with the pre-roll, the connection and code that runs once."""


SHORT_PERIODS = "--period-time=20000 --buffer-time=1000000"
"""The options of an arecord that is as quick as flowpi at a press and a release. Its default is a period of 125 ms."""


NAMES = ["flowpi", "eco", "t1", "pipe", "quick pipe"]


@dataclass(frozen=True)
class Cost:
    """Of one program while it streams, per second."""

    cpu_ms: float
    wake_ups: float


@dataclass(frozen=True)
class Streaming:
    """The medians of the rounds, with all programs running at the same time."""

    flowpi: Cost
    eco: Cost
    """Of flowpi with `read_ms: 500` and no pre-roll."""
    t1: Cost
    pipe: Cost
    """Of `arecord | socat` with its default period."""
    quick_pipe: Cost
    """The same with `SHORT_PERIODS`."""
    flowpi_rss_mb: float
    flowpi_peak_mb: float
    t1_peak_mb: float
    msgpack_wire: float
    """The bytes on the wire for each byte of PCM, without what a dictation costs once."""
    t1_wire: float
    once_bytes: int
    """The bytes that a dictation costs once: upgrade, auth, commit, and the shorter first and last appends."""


def stream(bench: Bench, rounds: int, window_s: float) -> Streaming:
    costs: dict[str, list[Cost]] = {}
    rss, peak, t1_peak, wire, t1_wire = [], [], [], [], []
    once = 0
    eco_url = f"backends.local={{kind: flow, url: '{bench.sink.addresses.flow}/eco'}}"
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            daemons: dict[str, Daemon] = {}
            pids: dict[str, list[int]] = {}
            for name in NAMES[number % len(NAMES) :] + NAMES[: number % len(NAMES)]:  # each is the first in its turn
                match name:
                    case "flowpi" | "eco":
                        settings = (eco_url, "audio.read_ms=500", "audio.preroll_ms=0") if name == "eco" else ()
                        daemons[name] = stack.enter_context(Daemon(bench, *settings))
                        pids[name] = [daemons[name].pid]
                    case "t1":
                        pids[name] = stack.enter_context(bench.t1())
                    case _:
                        options = SHORT_PERIODS if name == "quick pipe" else ""
                        pids[name] = stack.enter_context(bench.pipe(options))
            clients = [Client(daemon.socket) for daemon in daemons.values()]
            for client in clients:
                client.record("start")
            time.sleep(WARM_UP_S)
            before = {name: (cpu_s(pids[name]), wake_ups(pids[name])) for name in NAMES}
            began = time.monotonic()
            time.sleep(window_s)
            after = {name: (cpu_s(pids[name]), wake_ups(pids[name])) for name in NAMES}
            seconds = time.monotonic() - began
            for name in NAMES:
                cpu, switches = (late - early for early, late in zip(before[name], after[name], strict=True))
                costs.setdefault(name, []).append(Cost(1000 * cpu / seconds, switches / seconds))
            for client in clients:
                client.record("stop")
            resident, highest = memory_mb(daemons["flowpi"].pid)
            rss.append(resident)
            peak.append(highest)
            t1_peak.append(memory_mb(pids["t1"][0])[1])
            sessions = {session.path: session for session in (bench.sink.session(), bench.sink.session())}
            session = sessions["/flowpi"]
            wire.append(_wire(session))
            once = session.handshake_bytes + session.wire_bytes - round(session.pcm_bytes * wire[-1])
        session = bench.sink.session()  # that of T1, which has just been killed
        assert session.path == "/t1"
        t1_wire.append(_wire(session))
    median = {
        name: Cost(statistics.median(cost.cpu_ms for cost in found), statistics.median(cost.wake_ups for cost in found))
        for name, found in costs.items()
    }
    return Streaming(
        flowpi=median["flowpi"],
        eco=median["eco"],
        t1=median["t1"],
        pipe=median["pipe"],
        quick_pipe=median["quick pipe"],
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
