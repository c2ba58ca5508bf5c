"""flowpi and a real Home Assistant, set up word by word as `docs/home-assistant.md` says, each on its own machine.

What the page leaves to a person has a stand-in: the microphone hears a file, `flowpi record` is the button, and the
forms of Home Assistant are sent by its own interface.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.documents import blocks, rows, section, text_of
from tests.rig import build, cable
from tests.rig.container import Container
from tests.rig.home_assistant.house import House
from tests.rig.home_assistant.root import SUITE, home_assistant
from tests.sound import noise
from tests.speech import Recording, two_cities
from tests.system.talking import FINAL, HEARS_FILE, put_speech, write_wav

pytestmark = pytest.mark.nspawn

PAGE = text_of("docs/home-assistant.md")
BROKER, TELLS = blocks("sh", PAGE)
CONFIGURATION, AUTOMATION = blocks("yaml", PAGE)
ENTITIES = [name for row in rows(section("docs/home-assistant.md", "Entities"))[1:] for name in row[0].split(", ")]

SUDO = '#!/bin/sh\nexec "$@"\n'
"""The root of a rig has no sudo, and is root."""

ECHO = "server: {engine: echo}\n"
PARTIALS = "/root/partials"


@pytest.fixture(scope="module")
def machines(usable: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Container, Container]]:
    """The machines of Home Assistant and of flowpi, with a cable between them."""
    work = tmp_path_factory.mktemp("house")
    with Container(home_assistant(), work / "home") as home, Container(build.installed(SUITE), work / "pi") as pi:
        cable.connect(home, pi)
        pi.sh(f"echo {cable.ADDRESSES[0]} homeassistant.local >> /etc/hosts")
        for machine in (home, pi):
            machine.path("/usr/local/bin/sudo").write_text(SUDO)
            machine.path("/usr/local/bin/sudo").chmod(0o755)
        yield home, pi


@pytest.fixture(scope="module")
def home(machines: tuple[Container, Container]) -> House:
    """Home Assistant with the broker of the page."""
    house = House(machines[0])
    house.machine.sh(BROKER)
    house.move_in()
    house.set_up_mqtt(
        broker="127.0.0.1", port=1883, username="homeassistant", password="the password of Home Assistant"
    )
    return house


@pytest.fixture(scope="module")
def novel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech that lasts until also a busy machine has begun to record it."""
    return write_wav(two_cities(), tmp_path_factory.mktemp("speech") / "novel.wav")


@pytest.fixture(scope="module")
def pi(machines: tuple[Container, Container], home: House, novel: Path) -> Container:
    """An appliance on which the page was followed; its microphone hears the novel from now on."""
    machine = machines[1]
    machine.until("systemctl is-active flowpi-asr")
    put_speech(machine, novel)
    machine.path("/etc/flowpi/flowpi.yaml").write_text(CONFIGURATION + HEARS_FILE)
    machine.sh(TELLS)
    home.until(lambda: is_all_there(home))
    return machine


@pytest.fixture(autouse=True)
def no_complaint(home: House) -> Iterator[None]:
    yield
    assert home.complaints() == []


def is_all_there(home: House) -> bool:
    """Return whether no entity of the page is missing or unavailable."""
    states = home.states().values()
    return len(states) == len(ENTITIES) and all(one["state"] != "unavailable" for one in states)


def hear(pi: Container, sound: Path, more: str = "") -> None:
    """Start flowpi anew with a microphone that hears a file from then on. `more`: of the configuration."""
    put_speech(pi, sound)
    pi.path("/etc/flowpi/flowpi.yaml").write_text(CONFIGURATION + HEARS_FILE + more)
    pi.sh("systemctl restart flowpi-asr")
    pi.until("systemctl is-active flowpi-asr")
    pi.sh("systemctl restart flowpi")


def talk(pi: Container, letters: int = 1) -> Any:
    """Dictate until so many letters were recognised; return the final text."""
    output = f"--property=StandardOutput=truncate:{PARTIALS}"
    pi.sh(f"systemd-run --quiet --collect --unit=listener {output} flowpi listen transcript/partial")
    pi.sh("flowpi record start")
    pi.until(f'grep --extended-regexp \'"text": ?"[^"]{{{letters},}}"\' {PARTIALS}')
    return stop(pi)


def stop(pi: Container) -> Any:
    pi.sh("flowpi record stop --wait; systemctl stop listener 2> /dev/null || true")
    return finals(pi)[-1]


def finals(pi: Container) -> list[Any]:
    return [json.loads(line) for line in pi.run(f"{FINAL} 2> /dev/null").out.splitlines()]


def say(pi: Container) -> Any:
    """Dictate a moment with the recogniser that echoes; return the final text."""
    pi.sh("flowpi record start")
    return stop(pi)


def shown(home: House) -> list[str | None]:
    """Return the whole text of the entities that have the newest one."""
    states = home.states()
    return [
        states[f"{one}_transcript"]["attributes"].get("text") for one in ("event.front_desk", "sensor.front_desk_last")
    ]


def test_from_nothing_to_a_text_on_the_dashboard(home: House, pi: Container) -> None:
    text = talk(pi)["text"]
    assert text
    home.until(lambda: home.states()["sensor.front_desk_last_transcript"]["state"] == text)


def test_it_shows_what_the_page_names(home: House, pi: Container) -> None:
    with home.api.session() as session:
        registry = session.ask("config/entity_registry/list")
        (device,) = [one for one in session.ask("config/device_registry/list") if one["name"] == "front-desk"]
        triggers = session.ask("device_automation/trigger/list", device_id=device["id"])
    entities = [one for one in registry if one["device_id"] == device["id"]]
    assert sorted(one["original_name"] for one in entities) == sorted(ENTITIES)
    assert len(entities) == 13
    for one in entities:
        assert one["entity_id"].partition(".")[2] == f"front_desk_{one['original_name'].lower().replace(' ', '_')}"
    found = {(one["type"], one["subtype"]) for one in triggers if one["domain"] == "mqtt"}
    gestures = {"button_short_press", "button_long_press", "button_double_press"}
    assert found == {(gesture, "button") for gesture in gestures}
    home.until(lambda: is_all_there(home))


def test_a_text_of_more_than_255_letters_arrives_whole(home: House, pi: Container, novel: Path) -> None:
    hear(pi, novel)
    text = talk(pi, letters=256)["text"]
    assert len(text) > 255
    home.until(lambda: shown(home) == [text, text])
    assert home.states()["sensor.front_desk_last_transcript"]["state"] == text[:254] + "…"


@pytest.fixture
def echoing(home: House, pi: Container, tmp_path: Path) -> Container:
    """The appliance with a recogniser that echoes at once what it hears, which never comes twice."""
    hear(pi, write_wav(Recording("noise", noise(600), ""), tmp_path / "noise.wav"), ECHO)
    home.until(lambda: is_all_there(home))  # before that, what is pressed goes nowhere
    return pi


def test_a_dictation_changes_the_event_entity_once(home: House, echoing: Container) -> None:
    with home.api.session() as session:
        session.ask("subscribe_events", event_type="state_changed")
        said = [say(echoing), say(echoing)]
        changes: list[Any] = []
        while not changes or changes[-1]["id"] != said[-1]["id"]:
            data = session.next_event()["data"]
            if data["entity_id"] == "event.front_desk_transcript":
                changes.append(data["new_state"]["attributes"])
    for change, final in zip(changes, said, strict=True):
        assert {name: change[name] for name in ("text", "id", "part")} == {
            name: final[name] for name in ("text", "id", "part")
        }


def state(pi: Container) -> Any:
    return json.loads(pi.sh("flowpi status --json"))["state"]


def test_the_switch_records(home: House, echoing: Container) -> None:
    switch = "switch.front_desk_recording"
    before = len(finals(echoing))
    home.press(switch, "turn_on")
    home.until(lambda: state(echoing)["state"] == "recording" and home.states()[switch]["state"] == "on")
    home.press(switch, "turn_off")
    home.until(lambda: len(finals(echoing)) == before + 1 and home.states()[switch]["state"] == "off")


def test_the_buttons_cancel_and_retry(home: House, echoing: Container) -> None:
    before = len(finals(echoing))
    home.press("switch.front_desk_recording", "turn_on")
    home.until(lambda: state(echoing)["state"] == "recording")
    home.press("button.front_desk_cancel_dictation", "press")
    home.until(lambda: state(echoing)["state"] == "idle")
    say(echoing)
    assert len(finals(echoing)) == before + 1

    echoing.sh("systemctl mask --runtime --now flowpi-asr")
    say(echoing)
    waiting = "sensor.front_desk_waiting_for_text"
    home.until(lambda: home.states()[waiting]["state"] == "1")
    with home.api.session() as session:
        session.ask("mqtt/subscribe", topic="flowpi/front-desk/#")
        session.next_event()  # what the broker keeps: the subscription is in force
        home.press("button.front_desk_retry_kept_dictations", "press")
        while not (event := session.next_event())["topic"].endswith("/response"):
            pass
        assert json.loads(event["payload"])["ok"], event
    echoing.sh("systemctl unmask --runtime flowpi-asr; systemctl start flowpi-asr")
    home.press("button.front_desk_retry_kept_dictations", "press")
    home.until(lambda: home.states()[waiting]["state"] == "0")
    assert len(finals(echoing)) == before + 2


def stop_broker(home: House) -> None:
    home.machine.sh("systemctl stop mosquitto")


def kill_broker(home: House) -> None:
    home.machine.sh("systemctl kill --signal=KILL mosquitto; systemctl stop mosquitto")


def start_broker(home: House) -> None:
    """Start it, and wait until Home Assistant has said there that it is back."""
    born = home.births()
    home.machine.sh("systemctl start mosquitto")
    home.until(lambda: home.births() > born)


def restart_flowpi(pi: Container) -> None:
    pi.sh("systemctl restart flowpi")


def kill_flowpi(pi: Container) -> None:
    """The broker says that it is offline, and it is back by itself."""
    restarts = "systemctl show --property=NRestarts --value flowpi"
    before = pi.sh(restarts).strip()
    pi.sh("systemctl kill --signal=KILL flowpi")
    pi.until(f"[ $({restarts}) != {before} ] && systemctl is-active flowpi")


def test_the_rights_of_the_page_on_mqtt_are_enough(home: House, echoing: Container) -> None:
    (rights,) = blocks("text", section("docs/mqtt.md", "Rights at the broker"))
    home.machine.path("/etc/mosquitto/rights").write_text(rights.replace("user front-desk\n", "user flowpi\n"))
    home.machine.path("/etc/mosquitto/conf.d/rights.conf").write_text("acl_file /etc/mosquitto/rights\n")
    stop_broker(home)
    start_broker(home)
    home.until(lambda: is_all_there(home))
    home.press("switch.front_desk_recording", "turn_on")
    home.until(lambda: state(echoing)["state"] == "recording")
    text = stop(echoing)["text"]
    home.until(lambda: shown(home) == [text, text])


AWAY: dict[str, tuple[Callable[[House], None], Callable[[House], None]]] = {
    "the broker is restarted": (stop_broker, start_broker),
    "the broker is killed": (kill_broker, start_broker),
    "Home Assistant is restarted": (House.stop, House.start),
    "Home Assistant is killed": (House.kill, House.start),
}


def test_the_automation_of_the_page_runs_once_for_each_text(home: House, echoing: Container) -> None:
    home.automate("texts", yaml.safe_load(AUTOMATION))
    before = len(home.understood())
    said: list[str] = []

    def speak(times: int = 1) -> None:
        said.extend(say(echoing)["text"] for _ in range(times))

    def each_was_understood_once(after: str) -> None:
        """A text that comes after all others shows that no other comes a second time."""
        home.until(lambda: is_all_there(home))
        home.until(lambda: len(home.understood()) >= before + len(said))
        speak()
        home.until(lambda: len(home.understood()) >= before + len(said))
        assert home.understood()[before:] == said, after

    speak()
    each_was_understood_once("the first text")
    for name, (leave, come_back) in AWAY.items():
        leave(home)
        speak(2)
        come_back(home)
        each_was_understood_once(name)
    for harm in (restart_flowpi, kill_flowpi):
        harm(echoing)
        each_was_understood_once(harm.__name__)

    home.stop()
    born = home.births()
    home.begin()
    home.until(lambda: is_all_there(home))
    speak()
    home.until(lambda: home.births() > born)
    each_was_understood_once("a text while Home Assistant starts")
