"""Bad networks: `python -m tests.reliability.network SCENARIO ARGUMENTS` prints the outcome. See `netem.alone`."""

import contextlib
import json
import math
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.audio.listening import wait_until
from tests.reliability.place import Place
from tests.rig.appliance import stopped

FIRST_RESULT_S = 3.0
"""The deadline for the text from the end of the audio, shorter than the default to save time."""


def side_by_side(scenario: Callable[[Place, int], dict[str, Any]], places: int, *settings: str) -> list[dict[str, Any]]:
    """Run a scenario at several places at the same time, and return the outcome of each with its account."""

    def at(number: int) -> dict[str, Any]:
        with Place(Path(directory) / str(number), number, *settings) as place:
            found = scenario(place, number)
            return found | place.account()

    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(places) as threads:
        return list(threads.map(at, range(places)))


def flaps(places: int, times: int, shortest_s: float, longest_s: float) -> list[dict[str, Any]]:
    """Let the network of each place come and go `times` times, while somebody dictates all the time.

    Half of the times the kernel notices that it is gone. It does so the first time, which lasts for a short dictation.
    """

    def scenario(place: Place, number: int) -> dict[str, Any]:
        chance = random.Random(number)
        ups: list[float] = []
        downs: list[float] = []
        texts = place.listen()
        gone = threading.Event()
        flapping = threading.Thread(target=flap, args=(place, chance, ups, downs, gone))
        flapping.start()
        gone.wait()
        mood = random.Random(-number)
        while flapping.is_alive() or len(place.dictations) < 3:
            place.dictate(mood.uniform(0.3, 1.5) if place.dictations else 0.3)
            wait_until(time.monotonic() + mood.uniform(0, 1.0))
        place.wait(place.is_done)
        pressed = [one.pressed_at for one in place.dictations]
        in_the_dark = sum(any(down < at < up for down, up in zip(downs, ups, strict=True)) for at in pressed)
        return {
            "while_down": in_the_dark,
            "while_up": len(pressed) - in_the_dark,
            "back_s": back_s(place, texts, ups, downs),
        }

    def flap(place: Place, chance: random.Random, ups: list[float], downs: list[float], gone: threading.Event) -> None:
        def pause(at_least_s: float = 0.0) -> None:
            seconds = math.exp(chance.uniform(math.log(shortest_s), math.log(longest_s)))
            wait_until(time.monotonic() + max(seconds, at_least_s))

        for number in range(times):
            is_told = number == 0 or chance.random() < 0.5
            downs.append(time.monotonic())
            if is_told:
                place.network.unplug()
            else:
                place.network.cut()
            gone.set()
            pause(1.0 if number == 0 else 0.0)
            place.network.set(loss=chance.uniform(0.05, 0.3), delay_s=0.01, jitter_s=0.005)
            if is_told:
                place.network.plug_in()
            ups.append(time.monotonic())
            pause()
        place.network.set()

    return side_by_side(scenario, places)


def back_s(place: Place, texts: dict[str, float], ups: list[float], downs: list[float]) -> list[float]:
    """Return the delays of the first text after the network was back, as far as one came before it was gone again."""
    spans = [(one.pressed_at, texts[one.id]) for one in place.dictations if one.id in texts]
    found: list[float] = []
    for up, next_down in zip(ups, [*downs[1:], math.inf], strict=True):
        waited = [text for pressed, text in spans if pressed < up < text]
        if waited and min(waited) < next_down:
            found.append(round(min(waited) - up, 2))
    return found


CUTS: tuple[dict[str, bool], ...] = ({}, {"to_near": False}, {"to_far": False})
"""The directions to cut: both, only to the server, only from the server."""


def silences(places: int, times: int) -> list[dict[str, Any]]:
    """Cut the link silently in the middle of an utterance, in one direction or both, or stop the server."""

    def scenario(place: Place, number: int) -> dict[str, Any]:
        cut_s: list[float] = []
        stopped_s: list[float] = []
        for kind in range(number, number + times):
            if kind % 4 < 3:
                cut_s.append(cut(place, CUTS[kind % 4]))
            else:
                stopped_s.append(stop(place))
            place.wait(place.is_done)
        return {"cut_s": cut_s, "stopped_s": stopped_s}

    def cut(place: Place, directions: dict[str, bool]) -> float:
        with place.speaking():
            connections = begin(place)
            place.network.cut(**directions)
            at = time.monotonic()
            noticed_s = place.wait(lambda: not connections & place.connections()) - at
            place.network.set()
        return round(noticed_s, 2)

    def stop(place: Place) -> float:
        """Stop the server. Its kernel still accepts everything, so only the deadline for the text detects that."""
        with contextlib.ExitStack() as stack:
            with place.speaking():
                connections = begin(place)
                stack.enter_context(stopped(place.server))
            noticed_at = place.wait(lambda: not connections & place.connections())
        return round(noticed_at - place.dictations[-1].released_at, 2)

    def begin(place: Place) -> set[str]:
        place.wait(place.connections)
        wait_until(time.monotonic() + 0.3)
        return place.connections()

    return side_by_side(scenario, places, f"dictation.first_result_timeout_s={FIRST_RESULT_S}")


def flashes(lights: list[tuple[float, float]], since: float) -> list[float]:
    """Return how long the LED was lit each time."""
    found: list[float] = []
    lit_at: float | None = None
    for at, brightness in lights:
        if brightness and lit_at is None:
            lit_at = at
        elif not brightness and lit_at is not None:
            if lit_at >= since:
                found.append(round(at - lit_at, 3))
            lit_at = None
    return found


def offline(waiting: int, live: int) -> list[dict[str, Any]]:
    """Dictate with a network, without one, and while the backlog is delivered. Every packet is delayed by 30 ms."""

    def scenario(place: Place, number: int) -> dict[str, Any]:
        finals = place.appliance.connect().subscribe("transcript/final")

        def first_packet_ms() -> float:
            dictation = place.dictate(0.3)
            final = finals.wait("transcript/final", lambda final: final["id"] == dictation.id)
            assert not final["late"]
            ms: float = place.status()["stats"]["press_to_first_packet_ms"]
            return ms

        def is_kept(number: int) -> bool:
            state = place.status()["state"]
            return state["state"] == "idle" and state["spooled"] >= number and bool(state["faults"])

        place.network.set(delay_s=0.03)
        alone_ms = [first_packet_ms() for _ in range(live)]
        place.network.unplug()
        told: list[tuple[str, int, list[str]]] = []
        for number in range(waiting):
            place.dictate(0.3)
            place.wait(partial(is_kept, number + 1))
            state = place.status()["state"]
            told.append((state["state"], state["spooled"], [fault["code"] for fault in state["faults"]]))
        last_at = time.monotonic()
        wait_until(last_at + 3.0)
        lights = place.appliance.lights()
        place.network.plug_in()
        first_packet_ms()  # by its answer the backlog learns that the network is back
        draining_ms: list[float] = []
        for _ in range(live):
            draining = place.status()["state"]["spooled"]
            ms = first_packet_ms()
            if draining:
                draining_ms.append(ms)
        place.wait(place.is_done)
        return {
            "told": told,
            "flashes_s": flashes(lights, since=last_at - 1.0),
            "alone_ms": statistics.median(alone_ms),
            "draining_ms": statistics.median(draining_ms) if draining_ms else None,
            "while_draining": len(draining_ms),
        }

    return side_by_side(scenario, 1)


SCENARIOS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "flaps": flaps,
    "silences": silences,
    "offline": offline,
}

if __name__ == "__main__":
    print(json.dumps(SCENARIOS[sys.argv[1]](*map(json.loads, sys.argv[2:]))))
