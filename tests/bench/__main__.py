"""`make bench`: the cost of flowpi beside that of the shortest programs that do the same, in one run on one machine.

    python -m tests.bench [--quick] [--json FILE]

Absolute figures depend on the machine; the goals are ratios, and a few delays that a user would notice. A full run
needs twenty minutes, `--quick` five. The exit code is 0 whether or not a goal is met: read the table.
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

from tests import prompts
from tests.bench import crowd, formats, latency, publishing, server, streaming, vocabulary, words
from tests.bench.processes import Bench, require
from tests.publish.mqtt import fleet
from tests.speech import WORD_ERRORS_MAX

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
    speech: server.Spoken,
    many: list[crowd.Result],
) -> Iterator[Figure]:
    """Return the lines of the table.

    Args:
        bare: dictations without a post-roll, alternating with those of `relay`, the floor.
        rolled: dictations with the default post-roll.
        speech: dictations to each model of the recogniser.
        many: dictations at the same time, on one CPU and on two.
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
    yield from speech_figures(speech)
    for result in many:
        yield from crowd_figures(result)


def speech_figures(speech: server.Spoken) -> Iterator[Figure]:
    for model, results in speech.results.items():
        for name, result in results.items():
            title = SPEECH.format(f"{model}, {name}")
            goal = 1.2 if name == server.SHORT else None
            yield Figure(title, result.final_ms, "ms", result.bare_decode_ms, "one bare decode", goal)
            if name == server.PAUSES:
                yield Figure(title, result.final_ms, "ms", goal=60)
    yield Figure("CPU of a decode, base", speech.base_cpu_ms, "ms", speech.tiny_cpu_ms, "tiny", 1.6)


def crowd_figures(many: crowd.Result) -> Iterator[Figure]:
    name = f"{many.sessions} dictations on {'one CPU' if many.cpus == 1 else f'{many.cpus} CPUs'}: "
    yield Figure(f"{name}CPU of others", many.others, "cores", goal=0.05 * many.cpus)
    yield Figure(f"{name}final, p50", many.final_p50_ms, "ms")
    yield Figure(f"{name}final, p95", many.final_p95_ms, "ms", goal=500)
    yield Figure(f"{name}interim texts", many.texts_per_s, "1/s", goal=0.2, at_least=True)
    # A process that is held by one lock, or one thread, leaves the second CPU idle: 0.95 of two is 1.9 of one.
    yield Figure(f"{name}use of what others leave", many.used, "", goal=0.95 if many.cpus > 1 else None, at_least=True)
    yield Figure(f"{name}CPU for a second of speech", many.cpu_ms_per_s, "ms/s")
    yield Figure(f"{name}memory", many.rss_second_mb, "MB", many.rss_idle_mb, "before them")
    yield Figure(f"{name}memory, in the second half", many.rss_second_mb - many.rss_first_mb, "MB", goal=10)
    yield Figure(f"{name}memory, peak", many.rss_peak_mb, "MB")


def word_figures(results: dict[str, dict[str, float]]) -> Iterator[Figure]:
    for name, result in results.items():
        low, high = 100 * result["low"], 100 * result["high"]
        label = f"word errors of {name}, 95 %: {low:.2f} to {high:.2f}"
        yield Figure(label, 100 * result["rate"], "%", goal=100 * WORD_ERRORS_MAX[name])
        yield Figure(f"memory of {name}", result["memory_mb"], "MB", goal=words.MEMORY_MB[name])
    yield Figure("CPU of base", results["base"]["cpu_s"], "s", results["tiny"]["cpu_s"], "tiny", words.CPU_RATIO_MAX)


def format_figures(costs: dict[str, float]) -> Iterator[Figure]:
    """Return the lines about the forms of sound, beside 16 bits at the same rate, the floor."""
    for name in formats.WIDE, formats.PACKED:
        yield Figure(f"CPU of {name}", costs[name], "ms/s", costs[formats.STEREO], "16 bits", 2)
    yield Figure(f"CPU of {formats.NATIVE}", costs[formats.NATIVE], "ms/s", goal=0.1)


def vocabulary_figures(costs: dict[str, vocabulary.Cost]) -> Iterator[Figure]:
    for name, cost in costs.items():
        with_s, without_s = cost.cpu_with_phrases_s, cost.cpu_s
        yield Figure(f"CPU of {name} with 200 phrases", with_s, "s", without_s, "without any", 1.6)
        yield Figure(f"rare names right, {name}", cost.names_with_phrases, "", goal=15, at_least=True)


def publishing_figures(
    presses: publishing.Presses, idle: dict[str, publishing.Idle], appliances: fleet.Fleet
) -> Iterator[Figure]:
    """Return the lines about the sinks, beside those of a daemon without one, the floor."""
    for name, ours in (("a frozen broker", presses.frozen), ("a working broker", presses.working)):
        yield Figure(f"press -> first packet, {name}, p50", ours.p50, "ms", presses.alone.p50, "no MQTT", 1.1)
    alone = idle[publishing.ALONE]
    for name in (publishing.MQTT, publishing.WEBHOOK):
        more = idle[name].memory_mb - alone.memory_mb
        goal = 6.0 if name == publishing.MQTT else None
        yield Figure(f"memory idle, with {name}, beyond without", more, "MB", goal=goal)
    for name in (publishing.MQTT, publishing.WEBHOOK, publishing.HOOKED):
        more = idle[name].wake_ups - alone.wake_ups
        goal = 0.2 if name == publishing.MQTT else None
        yield Figure(f"wake-ups idle, with {name}, beyond without", more, "1/s", goal=goal)
    yield Figure("memory of the hook", idle[publishing.HOOK].memory_mb, "MB", alone.memory_mb, "a daemon")
    yield Figure("wake-ups of the hook, idle", idle[publishing.HOOK].wake_ups, "1/s")
    yield Figure("199 appliances at one broker, to a subscriber, p50", appliances.percentile_ms(0.5), "ms")
    yield Figure("199 appliances at one broker, to a subscriber, p99", appliances.percentile_ms(0.99), "ms", goal=1000)
    yield Figure("the same, the longest over a restart", appliances.longest_s, "s")


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
            _say("press with MQTT, and what the sinks cost at rest")
            presses = publishing.press(bench, 5 if quick else 25)
            idle = publishing.idle(bench, window_s=6 if quick else 60)
            _say("199 appliances at one broker")
            appliances = fleet.run(bench.fresh_directory())
            _say("start")
            start = latency.start(bench, rounds=2 if quick else 7)
        finally:
            bench.close()
    _say("the recogniser")
    speech = server.measure([server.SHORT] if quick else server.UTTERANCES)
    live, seconds = (8, 12) if quick else (32, 40)
    cpus = range(1, min(2, len(os.sched_getaffinity(0))) + 1)
    many = [crowd.measure(live * number, seconds, cpus=number) for number in cpus]
    _say("the words of the recogniser")
    names = vocabulary.measure(1 if quick else vocabulary.ROUNDS)
    rows = list(figures(moving, resting, bare, relay, rolled, start, speech, many))
    converted = formats.measure()
    rows += format_figures(converted)
    rows += vocabulary_figures(names)
    rows += publishing_figures(presses, idle, appliances)
    heard = words.measure(prompts.sample() if quick else prompts.prompts())
    rows += word_figures(heard)
    raw = {
        "streaming": asdict(moving),
        "resting": asdict(resting),
        "dictations": {"postroll_0": asdict(bare), "relay": asdict(relay), "default": asdict(rolled)},
        "presses": asdict(presses),
        "fleet": {
            "texts": sum(map(len, appliances.said.values())),
            "waits_s": asdict(latency.spread(appliances.waits_s)),
        },
        "idle": {name: asdict(cost) for name, cost in idle.items()},
        "start": asdict(start),
        "server": asdict(speech),
        "crowd": [asdict(result) for result in many],
        "words": heard,
        "formats": converted,
        "vocabulary": {name: asdict(cost) for name, cost in names.items()},
    }
    return rows, raw


def _say(what: str) -> None:
    print(f"bench: {what} (load {os.getloadavg()[0]:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="five minutes instead of twenty; rougher")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    require("arecord", "socat", "mosquitto")
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
