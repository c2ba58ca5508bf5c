"""What it costs to publish by MQTT, by a webhook and by a command: at a press, and while nothing happens."""

import contextlib
import random
import time
from dataclasses import dataclass

from tests.bench.latency import Spread, Talker
from tests.bench.processes import Bench, Client, Daemon, Hook, memory_mb, wake_ups
from tests.publish.mqtt.broker import BY_DEFAULT, Broker

NOBODY = "http://127.0.0.1:9/hook"
"""The address of a webhook that nothing is sent to: no text comes while it is configured."""

SETTLE_S = 5.0
"""How long an idle process is left alone before it is measured: what it imports late is imported, all is said."""

ALONE, MQTT, WEBHOOK = "alone", "MQTT", "a webhook"
HOOKED, HOOK = "a hook", "the hook itself"
"""What is measured at rest: daemons by what they publish to, and the process that a daemon is a server of."""


@dataclass(frozen=True)
class Presses:
    """From the press to the first packet, in ms, of daemons that are pressed in turn."""

    alone: Spread
    """Without MQTT."""
    frozen: Spread
    """With MQTT and a broker that is stopped just before each press."""
    working: Spread
    """With MQTT and a broker that answers."""


def press(bench: Bench, count: int) -> Presses:
    """Press the buttons of a daemon without MQTT and of two with it in turn."""
    dice = random.Random(0)
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(bench.fresh_directory(), saves=BY_DEFAULT))
        alone = Talker(bench, stack.enter_context(Daemon(bench)).socket)
        with_mqtt = []
        for name in ("frozen", "working"):
            daemon = stack.enter_context(Daemon(bench, f"publish.mqtt.url={broker.url}", f"device_id={name}"))
            wait_open(daemon)
            with_mqtt.append(Talker(bench, daemon.socket))
        frozen, working = with_mqtt
        turns = [alone, frozen, working]
        for number in range(count):
            for talker in turns[number % 3 :] + turns[: number % 3]:  # each is the first in its turn
                if talker is frozen:
                    broker.freeze()
                talker.dictate(dice)
                broker.thaw()
    return Presses(*(talker.result().press_to_packet for talker in turns))


@dataclass(frozen=True)
class Idle:
    """One process while nothing happens."""

    wake_ups: float
    """Per second, of all threads."""
    memory_mb: float


def idle(bench: Bench, window_s: float) -> dict[str, Idle]:
    """Return the cost of an idle daemon without a sink, of one with each, and of the hook, measured at the same time.

    The microphone is closed: with a pre-roll its periods would be most of the wake-ups.
    """
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(Broker(bench.fresh_directory(), saves=BY_DEFAULT))
        sinks = {
            ALONE: [],
            MQTT: [f"publish.mqtt.url={broker.url}"],
            WEBHOOK: [f"publish.webhooks.one={{url: '{NOBODY}'}}"],
            HOOKED: [],
        }
        daemons = {
            name: stack.enter_context(Daemon(bench, "audio.preroll_ms=0", *settings))
            for name, settings in sinks.items()
        }
        for name in (MQTT, WEBHOOK):
            wait_open(daemons[name])
        hook = stack.enter_context(Hook(bench, daemons[HOOKED].socket))
        pids = {**{name: daemon.pid for name, daemon in daemons.items()}, HOOK: hook.pid}
        time.sleep(SETTLE_S)
        before = {name: wake_ups([pid]) for name, pid in pids.items()}
        began = time.monotonic()
        time.sleep(window_s)
        seconds = time.monotonic() - began
        return {name: Idle((wake_ups([pid]) - before[name]) / seconds, memory_mb(pid)[0]) for name, pid in pids.items()}


def wait_open(daemon: Daemon) -> None:
    """Wait until the only sink of a daemon is open."""
    client = Client(daemon.socket)
    client.subscribe("sinks")
    while client.read()["payload"][0]["state"] != "open":
        pass
    client.close()
