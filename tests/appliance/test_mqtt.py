"""The daemon as a process, with a real microphone and a real broker."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from tests.publish.mqtt.broker import Broker, Reader
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import wait_for


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone, broker: Broker) -> Iterator[Appliance]:
    settings = ["device_id=desk", "audio.device=clock", f"publish.mqtt.url={broker.url}"]
    settings.append("publish.mqtt.commands=[record, spool]")
    with Appliance(tmp_path, *settings, environment={"STATE_DIRECTORY": str(tmp_path / "state")}) as appliance:
        appliance.serve("echo")
        yield appliance


def states(reader: Reader) -> list[str]:
    return [one.json["state"] for one in reader.of("desk/state")]


def texts(reader: Reader) -> list[Any]:
    return [one.json for one in reader.of("transcript/final")]


def online(reader: Reader) -> bool:
    return bool(reader.of("availability")) and reader.of("availability")[-1].payload == b"online"


def test_a_dictation_by_commands_from_the_broker(appliance: Appliance, broker: Broker) -> None:
    appliance.start()
    with Reader(broker.port, "flowpi/#") as reader:
        wait_for(lambda: online(reader))
        reader.say("flowpi/desk/command", b'{"command": "record", "action": "start"}')
        wait_for(lambda: "recording" in states(reader))
        reader.say("flowpi/desk/command", b'{"command": "record", "action": "stop", "request": 1}')
        wait_for(lambda: bool(texts(reader)))
        wait_for(lambda: bool(reader.of("desk/response")[1:]))
        assert texts(reader) == appliance.transcripts()
        assert reader.of("response")[1].json.items() >= {"response": 1, "ok": True}.items()
        wait_for(lambda: states(reader)[-1] == "idle")
        reader.say("flowpi/desk/command", b'{"command": "spool", "action": "retry", "request": 2}')
        wait_for(lambda: bool(reader.of("desk/response")[2:]))
        assert reader.of("response")[2].json == {"response": 2, "ok": True, "count": 0}

        assert appliance.daemon is not None
        assert appliance.daemon.end() == 0
        wait_for(lambda: not online(reader))
        appliance.start()
        wait_for(lambda: online(reader))
        assert appliance.daemon.end(SIGKILL) < 0
        wait_for(lambda: not online(reader))  # the broker says so
        appliance.start()
        wait_for(lambda: online(reader))
        assert len(texts(reader)) == 1


def test_a_frozen_broker_costs_a_dictation_nothing(appliance: Appliance, broker: Broker) -> None:
    appliance.start()
    with Reader(broker.port, "flowpi/#") as reader:
        wait_for(lambda: online(reader))
    client = appliance.connect().subscribe("transcript/final")
    broker.freeze()
    said = []
    for _ in range(3):
        assert client.record("start")["ok"]
        assert client.record("stop")["recorded"]
        said.append(client.wait("transcript/final"))
    wait_for(lambda: appliance.transcripts() == said)
    broker.thaw()
    with Reader(broker.port, "flowpi/#") as reader:
        wait_for(lambda: online(reader))


def test_what_is_said_without_a_broker_arrives_when_there_is_one(appliance: Appliance, broker: Broker) -> None:
    broker.kill()
    appliance.start()
    client = appliance.connect().subscribe("transcript/final", "state")
    state = client.wait("state", lambda state: any(one["code"] == "sink.mqtt" for one in state["faults"]))
    (message,) = (one["message"] for one in state["faults"] if one["code"] == "sink.mqtt")
    assert message == f"nobody listens on 127.0.0.1:{broker.port}: start the broker, or check publish.mqtt.url"
    assert appliance.daemon is not None
    assert f"sink.mqtt: {message}" in appliance.daemon.log.read_text()
    assert client.record("start")["ok"]
    assert client.record("stop")["recorded"]
    client.wait("transcript/final")
    with broker:
        client.wait("state", lambda state: not state["faults"])
        wait_for(lambda: "'flowpi/desk/transcript/final'" in broker.log)
