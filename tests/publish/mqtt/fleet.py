"""Two hundred appliances at one broker, which is restarted in the middle, and a subscriber that counts and times."""

import json
import subprocess
import sys
import threading
import time
import wave
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.publish.mqtt.broker import BY_DEFAULT, Broker
from tests.rig.appliance import Appliance, Socket
from tests.sound import noise, ulid
from tests.waiting import PATIENCE_S, wait_for

PLAIN, DAEMONS = 190, 9
"""How many are only the sink, in one process, and how many are whole daemons."""

TEXTS = 600
"""How many arrive before the restart, and after it."""


class Arrival(NamedTuple):
    at: float
    final: dict[str, Any]


class Archive:
    """A subscriber of all texts that misses none while it is away. `arrived`: by `device_id`, in order."""

    def __init__(self, port: int) -> None:
        self.arrived: dict[str, list[Arrival]] = defaultdict(list)
        self._number = 0
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="archive", protocol=MQTTProtocolVersion.MQTTv5
        )
        client.reconnect_delay_set(1, 1)
        subscribed = threading.Event()

        def connected(*_: Any) -> None:
            client.subscribe("flowpi/+/transcript/final", 1)

        client.on_connect = connected
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._receive
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def texts(self, device_id: str) -> list[str]:
        """Return the ids of the texts of an appliance, each at its first arrival."""
        return list(dict.fromkeys(one.final["id"] for one in self.arrived[device_id]))

    def receive_more(self, number: int) -> None:
        """Wait until so many more texts have come."""
        wanted = self._number + number
        wait_for(lambda: self._number >= wanted)

    def has(self, device_id: str, text_id: str) -> bool:
        return any(one.final["id"] == text_id for one in reversed(self.arrived[device_id]))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _receive(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        _, device_id, _ = message.topic.split("/", 2)
        self.arrived[device_id].append(Arrival(time.monotonic(), json.loads(message.payload)))
        self._number += 1


@contextmanager
def crowd(url: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.publish.mqtt.crowd", url, str(PLAIN)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


class Daemons:
    """Nine daemons with one recogniser. `said`: by `device_id`, when each text was on the daemon's own socket."""

    def __init__(self, directory: Path, url: str, stack: ExitStack) -> None:
        self.said: dict[str, dict[str, float]] = defaultdict(dict)
        self._pool = stack.enter_context(ThreadPoolExecutor(DAEMONS))
        sound = directory / "noise.wav"
        with wave.open(str(sound), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(noise(120))
        self._sockets: dict[str, Socket] = {}
        appliances = {}
        for name in (f"daemon-{number}" for number in range(DAEMONS)):
            (home := directory / name).mkdir()
            settings = [f"device_id={name}", "audio.source=wav", f"audio.path={sound}", "button.kind=none"]
            settings += [f"publish.mqtt.url={url}", f"backends.local.url=ws+unix://{directory}/daemon-0/asr.sock"]
            environment = {"STATE_DIRECTORY": str(home / "state")}
            appliances[name] = stack.enter_context(Appliance(home, *settings, environment=environment))
        appliances["daemon-0"].serve("echo")
        for _ in self._pool.map(lambda appliance: appliance.start(), appliances.values()):
            pass
        for name, appliance in appliances.items():
            self._sockets[name] = appliance.connect().subscribe("transcript/final")

    def dictate(self) -> None:
        """Dictate a text to each, all at once."""
        for _ in self._pool.map(self._dictate, self._sockets):
            pass

    def _dictate(self, name: str) -> None:
        client = self._sockets[name]
        assert client.record("start")["ok"]
        client.send({"command": "record", "action": "stop"})
        for _ in range(2):  # the text, and the answer, which may come first
            message = client.read()
            if "topic" in message:
                self.said[name][message["payload"]["id"]] = time.monotonic()

    def stand(self) -> None:
        """Wait until the broker has all texts of each."""

        def stands(client: Socket) -> bool:
            (sink,) = client.command(command="sinks", action="list")["sinks"]
            return (sink["state"], sink["waiting"]) == ("open", 0)

        for client in self._sockets.values():
            wait_for(lambda client=client: stands(client))  # type: ignore[misc]


@dataclass(frozen=True)
class Fleet:
    """What came of it.

    Attributes:
        said: the ids of the texts of each appliance, by `device_id`, in order.
        arrived: the ids as the subscriber got them, each at its first arrival.
        twice: how many came a second time.
        waits_s: from the publication to the subscriber, of the texts of the time in which the broker ran.
        longest_s: of the others, which the restart held up.
    """

    said: dict[str, list[str]]
    arrived: dict[str, list[str]]
    twice: int
    waits_s: list[float]
    longest_s: float

    def percentile_ms(self, part: float) -> float:
        return 1000 * sorted(self.waits_s)[int(part * (len(self.waits_s) - 1))]


def run(directory: Path) -> Fleet:
    """Let all appliances say texts to one broker, restart it, and let them say more."""
    with ExitStack() as stack:
        # As Debian configures it, but that it keeps what is said while the archive is away: docs/mqtt.md.
        broker = stack.enter_context(Broker(directory / "broker", "max_queued_messages 0", saves=BY_DEFAULT))
        archive = Archive(broker.port)
        stack.callback(archive.close)
        daemons = Daemons(directory, broker.url, stack)
        plain = stack.enter_context(crowd(broker.url))
        assert plain.stdin is not None
        assert plain.stdout is not None
        assert plain.stdout.readline() == "standing\n"
        daemons.stand()
        began = time.monotonic()
        daemons.dictate()
        archive.receive_more(TEXTS)
        stopped = time.monotonic()
        broker.freeze()
        daemons.dictate()  # these it never reads
        broker.stop()
        broker.start()
        assert plain.stdout.readline() == "standing\n"
        daemons.stand()
        stood = time.monotonic()
        daemons.dictate()
        archive.receive_more(TEXTS)
        plain.stdin.close()
        *_, counted = plain.stdout
        said = {name: [ulid(number + 1) for number in range(count)] for name, count in json.loads(counted).items()}
        said |= {name: list(times) for name, times in daemons.said.items()}
        wait_for(lambda: all(archive.has(name, ids[-1]) for name, ids in said.items()))
    waits = {True: list[float](), False: list[float]()}
    for name, arrivals in archive.arrived.items():
        for arrival in arrivals:
            at = daemons.said[name][arrival.final["id"]] if name in daemons.said else float(arrival.final["text"])
            standing = at >= began and (arrival.at <= stopped or at >= stood)
            waits[standing].append(arrival.at - at)
    texts = sum(map(len, said.values()))
    twice = sum(map(len, archive.arrived.values())) - texts
    return Fleet(said, {name: archive.texts(name) for name in said}, twice, waits[True], max(waits[False]))
