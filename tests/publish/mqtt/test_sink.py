"""What another client of the broker sees of an appliance."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from flowpi.config.mqtt import MqttSettings
from flowpi.core import topics
from flowpi.core.errors import SinkError
from flowpi.publish import mqtt
from flowpi.publish.messages import Problem
from flowpi.publish.mqtt import sink
from flowpi.publish.mqtt.sink import MqttSink
from tests.docs.documents import section
from tests.publish.mqtt.broker import Broker, Reader
from tests.publish.mqtt.station import IDLE, Station
from tests.waiting import until


@pytest.fixture
def reader(broker: Broker) -> Any:
    with Reader(broker.port, "#") as reader:
        yield reader


def asking(**members: Any) -> Properties:
    """Return the properties of a command: `ResponseTopic`, `CorrelationData`."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in members.items():
        setattr(properties, name, value)
    return properties


async def test_it_is_online_after_everything_else_is_said(station: Station, broker: Broker, reader: Reader) -> None:
    async with station.run(broker.url):
        await until(lambda: reader.of("desk/availability")[1:])
        topics = [one.topic for one in reader.heard]
        assert topics[0].startswith("homeassistant/device/flowpi_")
        assert topics[1:] == [f"flowpi/desk/{name}" for name in ("availability", "state", "stats", "availability")]
        assert [one.payload for one in reader.of("availability")] == [b"offline", b"online"]
        assert reader.of("/state")[0].json == IDLE
    await until(lambda: reader.of("availability")[-1].payload == b"offline")
    await until(lambda: "Received DISCONNECT from flowpi-desk" in broker.log)


async def test_a_late_subscriber_gets_what_is_kept(station: Station, broker: Broker) -> None:
    async with station.run(broker.url, last=True):
        await station.ready()
        (said,) = await station.say(1)
        with Reader(broker.port, "flowpi/#") as reader:
            await until(lambda: reader.of("transcript/last"))
            station.hub.publish("state", {"state": "recording"})
            await until(lambda: len(reader.of("/state")) == 2)
    with Reader(broker.port, "flowpi/#") as reader:
        await until(lambda: len(reader.heard) == 5)
        availability, *others = sorted(reader.heard, key=lambda one: one.topic)
        assert (availability.topic, availability.payload) == ("flowpi/desk/availability", b"offline")
        assert {one.topic.removeprefix("flowpi/desk/"): one.json for one in others} == {
            "cursor": {"2023-11-14.jsonl": {"id": said.id, "part": 1}},
            "state": {"state": "recording"},
            "stats": {"delivered": 0},
            "transcript/last": msgspec.to_builtins(said),
        }
        assert all(one.retained for one in reader.heard)


async def test_each_text_in_order_with_what_is_needed_to_know_it_again(
    station: Station, broker: Broker, reader: Reader
) -> None:
    async with station.run(broker.url):
        await station.ready()
        said = await station.say(1, 2, 3)
        await until(lambda: len(reader.of("transcript/final")) == 3)
    heard = reader.of("transcript/final")
    assert [one.json for one in heard] == [msgspec.to_builtins(one) for one in said]
    assert not reader.of("transcript/last")
    properties = heard[0].properties
    assert properties.ContentType == "application/json"
    assert properties.PayloadFormatIndicator == 1
    assert properties.UserProperty == [("id", said[0].id), ("part", "1")]
    assert not hasattr(properties, "MessageExpiryInterval")


@pytest.mark.parametrize("partial", [False, True])
async def test_what_is_worth_nothing_later_expires(
    station: Station, broker: Broker, reader: Reader, partial: bool
) -> None:
    async with station.run(broker.url, partial=partial):
        await until(lambda: reader.of("availability")[1:])
        station.hub.publish("transcript/partial", {"text": "It was"})
        station.hub.publish("level", {"dbfs": -20})
        station.hub.publish("event/button", {"kind": "tap"})
        station.hub.publish("transcript/failed", {"reason": "gone", "retry": True})
        await until(lambda: reader.of("transcript/failed") and reader.of("event/button"))
    assert bool(reader.of("transcript/partial")) == partial
    assert not reader.of("level")
    assert 1 <= reader.of("event/button")[0].properties.MessageExpiryInterval <= 10
    assert not hasattr(reader.of("transcript/failed")[0].properties, "MessageExpiryInterval")


async def test_live_messages_leave_the_first_moment_to_the_sound(
    station: Station, broker: Broker, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "LINGER_S", 3600.0)
    async with station.run(broker.url, partial=True, commands=("record",)):
        await until(lambda: station.hub.wants("event/button"))
        station.hub.publish("event/button", {"kind": "tap"})
        station.hub.publish("transcript/partial", {"text": "It was"})
        reader.say("flowpi/desk/command", b'{"command": "record", "action": "start"}')
        await until(lambda: reader.of("desk/response"))  # which would have come after them
        assert not reader.of("event/button")
        await station.say(1)
        await until(lambda: reader.of("transcript/final"))
        topics = [one.topic.removeprefix("flowpi/desk/") for one in reader.heard]
        shown = [one for one in topics if one.startswith(("event/", "transcript/"))]
        assert shown == ["event/button", "transcript/partial", "transcript/final"]


async def test_texts_of_the_time_without_a_broker_come_later(station: Station, broker: Broker) -> None:
    async with station.run(broker.url):
        await station.ready()
        broker.kill()
        await station.broken("nobody listens on 127.0.0.1")
        await station.say(*range(1, 21))
        broker.start()
        with Reader(broker.port, "flowpi/#") as reader:
            await until(lambda: len({one.payload for one in reader.of("transcript/final")}) >= 1)
            await until(lambda: not station.fault)
            await station.say(21)
            await until(lambda: reader.of("transcript/final")[-1].json["id"].endswith("021"))
        assert reader.of("availability")[-1].payload == b"online"


def test_the_documentation_names_what_is_not_published() -> None:
    everything = MqttSink(MqttSettings("mqtt://broker", partial=True), "desk")
    (named,) = re.findall(r"All topics .* but (.*) are below", section("docs/mqtt.md", "Topics"))
    assert set(re.findall("`(.+?)`", named)) == {*topics.ALL} - {*everything.filters, topics.FINAL}


# Commands


async def test_a_command_is_obeyed_and_answered(station: Station, broker: Broker, reader: Reader) -> None:
    async with station.run(broker.url, commands=("record",)):
        await until(lambda: reader.of("availability")[1:])
        reader.say("flowpi/desk/command", b'{"command": "record", "action": "start", "request": 7}')
        await until(lambda: reader.of("desk/response"))
        assert reader.of("desk/response")[0].json == {"response": 7, "ok": True, "state": "recording"}
        assert [(one.command, one.action) for one in station.asked] == [("record", "start")]


async def test_the_answer_goes_where_it_is_wanted(station: Station, broker: Broker, reader: Reader) -> None:
    station.answer = Problem("muted", "the microphone is muted")
    async with station.run(broker.url, commands=("record",)):
        await until(lambda: reader.of("availability")[1:])
        wanted = asking(ResponseTopic="node/red", CorrelationData=b"\x00\xff8")
        reader.say("flowpi/desk/command", b'{"command": "record", "action": "stop"}', properties=wanted)
        await until(lambda: reader.of("node/red"))
        (answer,) = reader.of("node/red")
        problem = {"code": "muted", "message": "the microphone is muted"}
        assert answer.json == {"response": None, "ok": False, "error": problem}
        assert answer.properties.CorrelationData == b"\x00\xff8"
        assert not reader.of("desk/response")


@pytest.mark.parametrize(
    ("wanted", "topic"),
    [
        ("flowpi/desk", "flowpi/desk/response"),
        ("flowpi/desk/state", "flowpi/desk/response"),
        ("homeassistant/device/flowpi/config", "flowpi/desk/response"),
        ("homeassistant/status", "flowpi/desk/response"),
        ("flowpi/desktop", "flowpi/desktop"),
    ],
)
async def test_no_answer_where_others_believe_it(
    station: Station, broker: Broker, reader: Reader, wanted: str, topic: str
) -> None:
    async with station.run(broker.url, commands=("record",)):
        await until(lambda: reader.of("availability")[1:])
        reader.say(
            "flowpi/desk/command", b'{"command": "record", "action": "stop"}', properties=asking(ResponseTopic=wanted)
        )
        await until(lambda: any(b'"response"' in one.payload for one in reader.heard))
        assert [one.topic for one in reader.heard if b'"response"' in one.payload] == [topic]


@pytest.mark.parametrize(
    ("allowed", "payload", "code"),
    [
        (("spool",), b'{"command": "record", "action": "start"}', "not_allowed"),
        (("spool",), b'{"command": "spool", "action": "drop", "utterances": ["x"]}', "not_allowed"),
        (("spool",), b'{"command": "spool", "action": "list"}', "not_allowed"),
        (("record", "spool"), b'{"command": "status"}', "not_allowed"),
        (("record",), b'{"subscribe": ["#"]}', "not_allowed"),
        (("record",), b'{"command": "record", "action": "stop", "wait": true}', "not_allowed"),
        (("record",), b'{"command": "record", "action": "start", "then": 1}', "bad_request"),
        (("record",), b'{"command": ["record"]}', "bad_request"),
        (("record",), b"ON", "bad_request"),
        (("record",), b"\xff\x00", "bad_request"),
        (("record",), b"[" * 5000, "bad_request"),
        (("record",), b"", "bad_request"),
    ],
)
async def test_nothing_else_is_obeyed(
    station: Station, broker: Broker, reader: Reader, allowed: tuple[str, ...], payload: bytes, code: str
) -> None:
    async with station.run(broker.url, commands=allowed):
        await until(lambda: reader.of("availability")[1:])
        reader.say("flowpi/desk/command", payload)
        await until(lambda: reader.of("desk/response"))
        assert reader.of("desk/response")[0].json["error"]["code"] == code
    assert not station.asked


async def test_a_command_that_the_broker_kept_starts_no_microphone(
    station: Station, broker: Broker, reader: Reader
) -> None:
    start, stop = (b'{"command": "record", "action": "%b"}' % action for action in (b"start", b"stop"))
    reader.say("flowpi/desk/command", start, retain=True)
    async with station.run(broker.url, commands=("record",)):
        await until(lambda: reader.of("availability")[1:])
        reader.say("flowpi/desk/command", start, retain=True)  # while flowpi is there
        reader.say("flowpi/desk/command", stop)
        await until(lambda: reader.of("desk/response"))
    assert [one.action for one in station.asked] == ["stop"]


async def test_without_commands_nothing_is_subscribed_to(station: Station, broker: Broker, reader: Reader) -> None:
    async with station.run(broker.url, discovery=False):
        await station.fed()
        await until(lambda: reader.of("availability")[1:])
        # What follows each is the topic.
        subscriptions = re.findall(r"Received SUBSCRIBE from flowpi-desk\n.*\t(\S+) \(QoS", broker.log)
        assert set(subscriptions) == {"flowpi/desk/cursor"}
        assert broker.log.count("Received UNSUBSCRIBE from flowpi-desk") == len(subscriptions)
        assert not reader.of("config")


# Home Assistant


async def test_home_assistant_is_told_again_when_it_comes(station: Station, broker: Broker, reader: Reader) -> None:
    async with station.run(broker.url):
        await until(lambda: reader.of("availability")[1:])
        reader.heard.clear()
        reader.say("homeassistant/status", b"online")
        await until(lambda: reader.of("availability"))
        told = [one for one in reader.heard if not one.topic.endswith("cursor")]  # it is noted behind its connection
        assert [one.topic.rpartition("/")[2] for one in told] == ["status", "config", "state", "stats", "availability"]
        assert told[-1].payload == b"online"


async def test_it_gets_the_texts_that_it_missed_once(station: Station, broker: Broker, reader: Reader) -> None:
    async with station.run(broker.url):
        await station.ready()
        await station.say(1)
        await until(lambda: reader.of("transcript/final"))
        reader.say("homeassistant/status", b"offline")
        await until(lambda: "Received PUBACK from flowpi-desk" in broker.log)
        missed = await station.say(2, 3)
        await until(lambda: len(reader.of("transcript/final")) == 3)
        reader.heard.clear()
        reader.say("homeassistant/status", b"online")
        await until(lambda: len(reader.of("transcript/final")) == 2)
        assert [one.json for one in reader.of("transcript/final")] == [msgspec.to_builtins(one) for one in missed]
        reader.heard.clear()
        reader.say("homeassistant/status", b"online")
        await until(lambda: reader.of("availability"))
        assert not reader.of("transcript/final")


async def test_home_assistant_is_away_if_nobody_hears_of_the_appliance(station: Station, broker: Broker) -> None:
    """As after a restart of the broker, which has no "offline" of it."""
    with Reader(broker.port, "flowpi/#") as reader:
        async with station.run(broker.url):
            await until(lambda: reader.of("availability")[1:])
            await station.say(1)
            await until(lambda: reader.of("transcript/final"))
            with Reader(broker.port, "homeassistant/device/#") as home_assistant:
                home_assistant.say("homeassistant/status", b"online")
                await until(lambda: len(reader.of("transcript/final")) == 2)


# What it costs


@pytest.mark.parametrize(("settings", "there"), [("MqttSettings()", False), ("MqttSettings('mqtt://h.invalid')", True)])
def test_paho_is_imported_only_if_mqtt_is_configured(settings: str, there: bool, tmp_path: Path) -> None:
    program = f"""
import asyncio, pathlib, sys
from flowpi.config.mqtt import MqttSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub
from flowpi.publish.publisher import Publisher

async def main():
    config, at = Config(publish=PublishSettings(mqtt={settings})), pathlib.Path({str(tmp_path)!r})
    failed = asyncio.Event()
    fault, clear = lambda *_: failed.set(), lambda *_: None
    publisher = Publisher(config, Hub(), Transcripts(at, 30), at, fault=fault, clear=clear)
    await publisher.open()
    publisher.start()
    if publisher.names:
        await failed.wait()  # no broker has this name
    await publisher.close()

asyncio.run(main())
print("paho" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{there}\n"


def test_without_paho_the_fault_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("flowpi.publish.mqtt.", "paho"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paho", None)
    with pytest.raises(SinkError, match=r"MQTT needs paho.*: pip install 'flowpi\[mqtt\]'"):
        mqtt.make(mqtt.MqttAppliance(MqttSettings("mqtt://broker"), "desk"), None)
