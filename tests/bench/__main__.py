"""`make bench`: the cost of flowpi beside that of the shortest programs that do the same, in one run on one machine.

    python -m tests.bench [--quick] [--json FILE]

Absolute figures depend on the machine; the goals are ratios, and a few delays that a user would notice. A full run
needs six minutes, `--quick` one. The exit code is 0 whether or not a goal is met: read the table.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench import latency, server, streaming
from tests.bench.processes import Bench, require

RELAY = "shortest relay"
SPEECH = "commit -> final, {}"


@dataclass(frozen=True)
class Figure:
    """One line of the table. `value` meets its goal if it is at most `goal`, or with `at_least` at least that."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    floor_name: str = ""
    goal: float | None = None
    """The limit of the ratio if there is a floor, else of the value."""
    at_least: bool = False
    absolute: bool = False
    """Whether the goal applies to the value although there is a floor."""

    @property
    def ratio(self) -> float | None:
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the figure meets its goal; None if it has none."""
        if self.goal is None:
            return None
        judged = self.value if self.ratio is None or self.absolute else self.ratio
        return judged >= self.goal if self.at_least else judged <= self.goal


def figures(
    moving: streaming.Streaming,
    resting: streaming.Resting,
    bare: latency.Dictations,
    relay: latency.Dictations,
    rolled: latency.Dictations,
    start: latency.Start,
    speech: dict[str, dict[str, float]],
) -> Iterator[Figure]:
    """Return the lines of the table.

    Args:
        bare: dictations without a post-roll, alternating with those of `relay`, the floor.
        rolled: dictations with the default post-roll.
    """
    t1, pipe, quick_pipe = (moving.t1, "T1"), (moving.pipe, "arecord | socat"), (moving.quick_pipe, "the same, 20 ms")
    for doing, cost, (least, least_name), goal in (
        ("streaming", moving.flowpi, t1, 1.15),
        ("streaming", moving.flowpi, quick_pipe, 0.45),
        ("streaming, read_ms 500", moving.eco, pipe, 1.0),
    ):
        yield Figure(f"CPU while {doing}", cost.cpu_ms, "ms/s", least.cpu_ms, least_name, goal)
        yield Figure(f"wake-ups while {doing}", cost.wake_ups, "1/s", least.wake_ups, least_name)
    yield Figure("wake-ups idle, with pre-roll", resting.preroll_wake_ups, "1/s", goal=3)
    yield Figure("wake-ups idle, without", resting.closed_wake_ups, "1/s", goal=0.2)
    yield Figure("CPU idle, with pre-roll", resting.preroll_cpu_ms, "ms/s")
    yield Figure("CPU idle, without", resting.closed_cpu_ms, "ms/s")
    yield Figure("memory while streaming", moving.flowpi_rss_mb, "MB", goal=48)
    yield Figure("peak memory", moving.flowpi_peak_mb, "MB", moving.t1_peak_mb, "T1")
    yield Figure("wire / PCM, MessagePack, WAV", moving.msgpack_wire, "", goal=1.022)
    yield Figure("the same of T1, bare packets", moving.t1_wire, "")
    yield Figure("wire / PCM, JSON, WAV", resting.json_wire, "", goal=1.36)
    yield Figure("wire, once a dictation", moving.once_bytes, "bytes")
    yield Figure("start -> READY, defaults", start.defaults_ms, "ms", start.floor_ms, "imports alone", 1.2)
    yield Figure("start -> READY, with settings", start.configured_ms, "ms", start.floor_ms, "imports alone")
    moments = {
        "press -> first packet": (bare.press_to_packet, relay.press_to_packet, None, 5),
        "release -> commit": (bare.release_to_commit, relay.release_to_commit, None, 5),
        "final -> subscriber": (bare.final_to_subscriber, relay.final_to_subscriber, 2, None),
    }
    for name, (ours, floor, p50, p95) in moments.items():
        yield Figure(f"{name}, p50", ours.p50, "ms", floor.p50, RELAY, p50, absolute=True)
        yield Figure(f"{name}, p95", ours.p95, "ms", floor.p95, RELAY, p95, absolute=True)
        yield Figure(f"{name}, p50, beyond the relay's", ours.p50 - floor.p50, "ms", goal=1)
    yield Figure("press -> first packet, the first of all", bare.first_press_ms, "ms", relay.first_press_ms, RELAY)
    yield Figure("release -> commit, post-roll 200, p50", rolled.release_to_commit.p50, "ms")
    yield Figure("release -> commit, post-roll 200, p95", rolled.release_to_commit.p95, "ms")
    kept = min(bare.heard_before_press_ms, rolled.heard_before_press_ms)
    yield Figure("speech kept before the press, p5", kept, "ms", goal=300, at_least=True)
    yield Figure("speech lost before the release", bare.lost_before_release_ms, "ms", goal=20)
    yield Figure("the same, post-roll 200", rolled.lost_before_release_ms, "ms", goal=0)
    yield Figure("frames missing in between", bare.missing_frames + rolled.missing_frames, "", goal=0)
    for name, result in speech.items():
        short, pauses = name == server.SHORT, name == server.PAUSES
        final_ms, decode_ms = result["final_ms"], result["bare_decode_ms"]
        yield Figure(SPEECH.format(name), final_ms, "ms", decode_ms, "one bare decode", 1.3 if short else None)
        if pauses:
            yield Figure(SPEECH.format(name), final_ms, "ms", goal=120)


def table(rows: list[Figure]) -> str:
    lines = [f"{'':58}{'flowpi':>9}       {'floor':>9}  {'':18}{'ratio':>7}{'goal':>9}  met"]
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:.4g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        goal = "" if row.goal is None else f"{'>=' if row.at_least else '<='} {row.goal:g}"
        met = {True: "yes", False: "NO", None: ""}[row.met]
        value = f"{row.value:.4g}"
        lines.append(
            f"{row.name:58}{value:>9} {row.unit:6}{floor:>9}  {row.floor_name:18}{ratio:>7}{goal:>9}  {met}".rstrip()
        )
    return "\n".join(lines)


def measure(quick: bool) -> tuple[list[Figure], dict[str, Any]]:
    """Measure everything; return the lines of the table, and all measurements."""
    with tempfile.TemporaryDirectory(prefix="flowpi-bench-") as directory:
        bench = Bench(Path(directory))
        try:
            _say("CPU, memory and bytes, all programs at once")
            moving = streaming.stream(bench, rounds=1 if quick else 3, window_s=6 if quick else 14)
            _say("at rest")
            resting = streaming.rest(bench, window_s=4 if quick else 12)
            _say("press, release and text")
            bare, relay = latency.dictate(bench, 5 if quick else 25, "audio.postroll_ms=0")
            rolled, _ = latency.dictate(bench, 2 if quick else 10)
            _say("start")
            start = latency.start(bench, rounds=2 if quick else 7)
        finally:
            bench.close()
    _say("the recogniser")
    speech = server.measure([server.SHORT] if quick else server.UTTERANCES)
    rows = list(figures(moving, resting, bare, relay, rolled, start, speech))
    raw = {
        "streaming": asdict(moving),
        "resting": asdict(resting),
        "dictations": {"postroll_0": asdict(bare), "relay": asdict(relay), "default": asdict(rolled)},
        "start": asdict(start),
        "server": speech,
    }
    return rows, raw


def _say(what: str) -> None:
    print(f"bench: {what} (load {os.getloadavg()[0]:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one minute instead of six; rougher")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    require("arecord", "socat")
    began = time.monotonic()
    rows, raw = measure(arguments.quick)
    seconds = round(time.monotonic() - began)
    print(table(rows))
    missed = sum(row.met is False for row in rows)
    print(f"{sum(row.met is True for row in rows)} goals met, {missed} not; {seconds} s; {platform.machine()}")
    if arguments.json:
        lines = [{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows]
        machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
        report = {"machine": machine, "quick": arguments.quick, "seconds": seconds, "figures": lines, "measured": raw}
        Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
