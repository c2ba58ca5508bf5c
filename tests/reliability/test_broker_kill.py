"""SIGKILL of broker and daemon at any moment: a subscriber that is away most of the time gets each text, in order."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.publish.mqtt.broker import BY_DEFAULT, EACH_CHANGE, Broker
from tests.publish.mqtt.sleeper import Sleeper, Text
from tests.reliability.lives import SPEECH_S, Lives
from tests.rig.microphone import Microphone
from tests.rig.speaker import Gone
from tests.waiting import wait_for

SAVING = {"each change": EACH_CHANGE, "by default": BY_DEFAULT}

LONGEST_S = 1.0
"""A round is at most so long before something is killed."""


class Tally(msgspec.Struct):
    """What came of it. `lost`: written and never received; `disordered`: received for the first time after a later
    text of the same file; `altered`: received with another text than it has."""

    written: int = 0
    lost: int = 0
    received: int = 0
    doubles: int = 0
    disordered: int = 0
    altered: int = 0
    brokers_killed: int = 0
    daemons_killed: int = 0


class World:
    """A broker, an appliance that publishes to it, and a subscriber."""

    def __init__(self, directory: Path, saves: str, how: str) -> None:
        # Its limit of messages for one who is away would be another reason to lose texts.
        self.broker = Broker(directory / "broker", "max_queued_messages 0", saves=saves)
        self.broker.start()
        settings = [f"publish.mqtt={{url: '{self.broker.url}', discovery: false}}", "device_id=desk"]
        self.lives = Lives(directory / "0", *settings, program=("-m", "tests.reliability.hasty", how))
        self.lives.serve()
        self._environment = {"STATE_DIRECTORY": str(directory / "state")}
        self.sleeper = Sleeper(self.broker.port, "flowpi/desk/transcript/final")
        self.sleeper.wake()
        self.broker.save()  # the session at least, as any broker has after half an hour
        self.start()

    def start(self) -> None:
        daemon = self.lives.start(self._environment)
        self.lives.speaker.connect(lambda: daemon.process.poll() is None)

    @property
    def transcripts(self) -> list[dict[str, Any]]:
        return self.lives.appliance.transcripts()

    def forget(self, tally: Tally) -> None:
        """Kill the broker when it has accepted a text that the subscriber does not have."""
        self.sleeper.sleep()
        self.say_all()
        self.broker.kill()
        self.broker.start()
        tally.brokers_killed += 1

    def round(self, victims: str, chance: random.Random, tally: Tally) -> None:
        """Dictate until something is killed, and start that again."""
        daemon = self.lives.daemon
        assert daemon is not None
        awake = chance.random() < 0.25
        if awake:
            self.sleeper.wake()
        if chance.random() < 0.15:
            self.broker.save()
        kills = [self.broker.kill] if victims != "daemon" else []
        kills += [daemon.process.kill] if victims != "broker" else []
        deaths = [threading.Timer(chance.uniform(0.0, LONGEST_S), kill) for kill in kills]
        for death in deaths:
            death.start()
        try:
            while any(death.is_alive() for death in deaths):
                self.lives.speaker.dictate(SPEECH_S)
        except Gone:
            pass
        for death in deaths:
            death.join()
        self.sleeper.sleep()
        if victims != "daemon":
            tally.brokers_killed += 1
            self.broker.start()
        if victims != "broker":
            tally.daemons_killed += 1
            self.start()

    def catch_up(self) -> None:
        """Let the subscriber receive all that it will ever receive: the last text comes last."""
        last = self.say_all()
        self.sleeper.wake()
        wait_for(lambda: any(text.id == last for text in list(self.sleeper.got)))
        self.sleeper.sleep()

    def say_all(self) -> str:
        """Dictate, and wait until the broker has accepted all that was ever said. Return the id of the last text."""
        said = self.lives.speaker.dictate(SPEECH_S)
        wait_for(lambda: any(line["id"] == said.id for line in self.transcripts))
        self.lives.deliver()
        last: str = self.transcripts[-1]["id"]  # perhaps an older one, which gave way to whoever spoke
        position = Path(self._environment["STATE_DIRECTORY"]) / "sinks/mqtt.position"
        wait_for(lambda: last in position.read_text())
        return last

    def close(self) -> None:
        self.sleeper.sleep()
        self.lives.close()
        self.broker.kill()


def disordered(files: Path, got: list[Text]) -> int:
    """Return how many texts came for the first time after one that is behind them in their file."""
    first = list(dict.fromkeys((one.id, one.part) for one in got))
    wrong = 0
    for file in files.glob("*.jsonl"):
        lines = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
        places = {(line["id"], line["part"]): place for place, line in enumerate(lines)}
        came = [places[one] for one in first if one in places]
        wrong += sum(place < max(came[:at], default=-1) for at, place in enumerate(came))
    return wrong


def lives_of(world: World, dictations: int, seed: int) -> Tally:
    chance, tally = random.Random(seed), Tally()
    world.forget(tally)
    for victims in itertools.cycle(("broker", "daemon", "both")):
        if sum(one.acknowledged for one in world.lives.speaker.said) >= dictations:
            break
        world.round(victims, chance, tally)
    world.catch_up()
    written = {(line["id"], line["part"]): line["text"] for line in world.transcripts}
    got = world.sleeper.got
    tally.written, tally.received = len(written), len(got)
    tally.lost = len(written.keys() - {(one.id, one.part) for one in got})
    tally.doubles = len(got) - len({(one.id, one.part) for one in got})
    tally.altered = sum(written.get((one.id, one.part)) != one.text for one in got)
    tally.disordered = disordered(world.lives.appliance.directory / "transcripts", got)
    assert world.sleeper.new_sessions == 1
    return tally


Make = Callable[[str, str], World]


@pytest.fixture
def make(tmp_path: Path, microphone: Microphone) -> Iterator[Make]:
    made: list[World] = []

    def make(saves: str, how: str) -> World:
        made.append(World(tmp_path, saves, how))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.mark.promise("P43")
@pytest.mark.parametrize("saves", SAVING)
def test_a_broker_that_forgets_costs_no_text(
    make: Make, saves: str, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    tally = lives_of(make(SAVING[saves], "careful"), times(10, 1000), 16)
    measured(broker_saves=saves, **msgspec.structs.asdict(tally))
    assert (tally.lost, tally.disordered, tally.altered) == (0, 0, 0), tally


@pytest.mark.promise("P43")
def test_without_its_cursor_it_would(
    make: Make, times: Callable[[int, int], int], measured: Callable[..., None]
) -> None:
    """The negative control: the same broker, and a daemon that does not ask what it has forgotten."""
    tally = lives_of(make(BY_DEFAULT, "blind"), times(0, 250), 16)
    measured(broker_saves="by default, and no cursor", **msgspec.structs.asdict(tally))
    assert tally.lost > 0
