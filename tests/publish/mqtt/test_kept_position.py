"""The topic `cursor`: a broker that forgot what it acknowledged is sent that again, and nobody else is."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from flowpi.config.secret import Secret
from flowpi.publish.mqtt import kept_position
from tests.docs.documents import blocks, section
from tests.publish.mqtt.broker import BY_DEFAULT, Broker, Reader, write_users
from tests.publish.mqtt.scripted import Scripted, scripted
from tests.publish.mqtt.station import Station
from tests.publish.test_files import final
from tests.waiting import ticks, until

CURSOR = "flowpi/desk/cursor"
FINAL = "flowpi/desk/transcript/final"
BLIND = "the destination does not show the position of the texts"


@pytest.fixture
async def script() -> AsyncIterator[Scripted]:
    async with scripted() as broker:
        yield broker


def behind(number: int) -> dict[str, Any]:
    """Return the position behind a text."""
    return {"2023-11-14.jsonl": {"id": final(number).id, "part": 1}}


def numbers(reader: Reader) -> list[int]:
    """Return the numbers of the texts that a reader received."""
    return [int(one.json["id"][-6:]) for one in reader.of("transcript/final")]


async def kept(broker: Broker, position: dict[str, Any]) -> None:
    """Wait until the broker keeps a position."""
    with Reader(broker.port, CURSOR) as reader:
        await until(lambda: reader.heard and reader.heard[-1].json == position)


@pytest.mark.parametrize("saved", [False, True], ids=["not_even_the_position", "an_older_position"])
async def test_a_broker_that_is_killed_before_it_saves(station: Station, tmp_path: Path, saved: bool) -> None:
    broker = Broker(tmp_path / "broker", saves=BY_DEFAULT)
    with broker:
        async with station.run(broker.url):
            await station.fed()
            await station.say(1, 2)
            await kept(broker, behind(2))
            if saved:
                broker.save()
            await station.say(3, 4)
            await kept(broker, behind(4))
            broker.kill()
            await until(lambda: station.fault)
            broker.start()
            with Reader(broker.port, FINAL) as reader:
                await station.say(5)
                await until(lambda: 5 in numbers(reader))
                again = [3, 4, 5] if saved else [1, 2, 3, 4, 5]
                assert numbers(reader) == again[-len(numbers(reader)) :]  # some may have come before the reader
            await kept(broker, behind(5))


@pytest.mark.parametrize("moment_s", [kept_position.MOMENT_S, 0.0])
async def test_a_stop_right_after_a_text_does_not_repeat_it(
    station: Station, broker: Broker, monkeypatch: pytest.MonkeyPatch, moment_s: float
) -> None:
    """A real broker needs no moment to show what it keeps."""
    monkeypatch.setattr(kept_position, "MOMENT_S", moment_s)
    with Reader(broker.port, FINAL) as reader:
        for number in range(1, 6):
            async with station.run(broker.url):
                await station.fed()
                await station.say(number)
                await until(lambda number=number: number in numbers(reader))  # type: ignore[misc]
        assert numbers(reader) == [1, 2, 3, 4, 5]


async def test_a_broker_that_is_stopped_and_started_gets_nothing_twice(station: Station, broker: Broker) -> None:
    async with station.run(broker.url):
        await station.fed()
        await station.say(1, 2)
        await kept(broker, behind(2))
        broker.save()
        broker.kill()
        await until(lambda: station.fault)
        broker.start()
        await until(lambda: not station.fault)
        with Reader(broker.port, FINAL) as reader:
            await station.say(3)
            await until(lambda: 3 in numbers(reader))
            assert numbers(reader) == [3]


async def overwritten(broker: Broker) -> None:
    """Let another machine write its position."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("machine", "another")]
    with Reader(broker.port) as other:
        other.say(CURSOR, json.dumps(behind(7)).encode(), retain=True, properties=properties)
    await kept(broker, behind(7))


async def test_what_another_machine_wrote_repeats_nothing(
    station: Station, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    with Reader(broker.port, FINAL) as reader:
        async with station.run(broker.url):
            await station.fed()
            await station.say(1, 2)
            await kept(broker, behind(2))
            await overwritten(broker)
            rival = paho.Client(CallbackAPIVersion.VERSION2, "flowpi-desk", protocol=MQTTProtocolVersion.MQTTv5)
            rival.connect("127.0.0.1", broker.port)
            await station.broken("the connection to the broker broke")
            await kept(broker, behind(2))
            await station.say(3)
            await until(lambda: 3 in numbers(reader))
        assert numbers(reader) == [1, 2, 3]
    assert "another machine uses the device_id 'desk' at the broker, and wrote its position" in caplog.text


async def test_a_crash_to_what_another_machine_wrote_repeats_the_day(station: Station, broker: Broker) -> None:
    """As after a machine was replaced: the broker may have forgotten what this one sent since."""
    async with station.run(broker.url):
        await station.fed()
        await station.say(1, 2)
        await kept(broker, behind(2))
        await overwritten(broker)
        broker.save()
        broker.kill()
        await station.broken("nobody listens on")
        broker.start()
        await until(lambda: broker.log.count(f"'{FINAL}'") >= 4)
        await kept(broker, behind(2))


async def test_a_broker_that_is_slow_to_show_what_it_keeps(
    station: Station, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: it is there before the second acknowledgement."""
    monkeypatch.setattr(kept_position, "MOMENT_S", 0.0)
    script.shows = "late"
    async with station.run(script.url):
        await station.fed()
        await station.say(1, 2)
        await until(lambda: script.position and json.loads(script.position) == behind(2))
        for _ in range(2):
            connects = script.connects
            script.hang_up()
            await until(lambda connects=connects: script.connects > connects)  # type: ignore[misc]
        await station.say(3)
        await until(lambda: script.published.count(FINAL) >= 3)
        await ticks()
        assert script.published.count(FINAL) == 3


async def test_one_that_keeps_it_costs_no_moment(
    station: Station, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with station.run(script.url):
        await station.fed()
        await station.say(1)
        await until(lambda: script.position and json.loads(script.position) == behind(1))
    monkeypatch.setattr(kept_position, "MOMENT_S", 3600.0)
    async with station.run(script.url):
        await station.say(2)
        await until(lambda: script.published.count(FINAL) == 2)


async def test_several_positions_at_once_count_as_the_newest(station: Station, script: Scripted) -> None:
    async with station.run(script.url):
        await station.fed()
        script.puback = lambda topic: None if topic == CURSOR else 0
        await station.say(*range(1, 11))
        position = station.positions / "mqtt.position"
        await until(lambda: json.loads(position.read_bytes()) == behind(10))
        await ticks()
        assert script.positions == 2  # the one before the first text, and that behind it
        script.puback = lambda topic: 0
        script.acknowledge()
        await until(lambda: json.loads(script.position) == behind(10))
        assert script.positions <= 4  # the position of the last text may have been noted just now


async def test_a_stop_waits_for_the_newest_position(station: Station, script: Scripted) -> None:
    async with station.run(script.url) as publisher:
        await station.fed()
        script.puback = lambda topic: None if topic == CURSOR else 0
        await station.say(1, 2)
        position = station.positions / "mqtt.position"
        await until(lambda: json.loads(position.read_bytes()) == behind(2))
        await ticks()
        closing = asyncio.create_task(publisher.close())
        await ticks()
        script.puback = lambda topic: 0
        script.acknowledge()
        await closing
    assert json.loads(script.position) == behind(2)


@pytest.mark.parametrize("shows", ["never", "at once"])
async def test_what_others_publish_there_is_ignored(station: Station, broker: Broker, shows: str) -> None:
    """What a broker keeps for us is ours; a message to the topic while flowpi asks is not."""
    async with station.run(broker.url):
        await station.fed()
        await station.say(1, 2)
        await kept(broker, behind(2))
    with Reader(broker.port, FINAL) as reader:
        reader.say(CURSOR, b"" if shows == "never" else b"[garbage", retain=True)
        async with station.run(broker.url):
            await until(lambda: numbers(reader) == [1, 2])
            reader.say(CURSOR, b"{}")
            await station.say(3)
            await until(lambda: numbers(reader) == [1, 2, 3])
            await kept(broker, behind(3))


# Rights


LOGIN: dict[str, Any] = {"username": "pi", "password": Secret("literal", "s3cret")}


@pytest.fixture
def guarded(tmp_path: Path) -> Broker:
    """A broker with the user pi, who may do what a test writes into its ACL."""
    (tmp_path / "broker").mkdir()
    write_users(tmp_path / "passwords", {"pi": "s3cret", "all": "s3cret"})
    lines = f"password_file {tmp_path}/passwords\nacl_file {tmp_path}/acl"
    return Broker(tmp_path / "broker", lines, anonymous=False)


def allow(tmp_path: Path, *rights: str) -> None:
    mine = "\n".join(f"topic {right}" for right in rights)
    (tmp_path / "acl").write_text(f"user pi\n{mine}\ntopic read homeassistant/status\nuser all\ntopic readwrite #\n")


async def run_again(station: Station, broker: Broker, reader: Reader, *new: int) -> None:
    """Connect and say one text, again and again."""
    for number in new:
        async with station.run(broker.url, discovery=False, **LOGIN):
            await station.ready()
            await station.say(number)
            await until(lambda number=number: number in numbers(reader))  # type: ignore[misc]


async def test_without_the_right_to_read_it_nothing_comes_twice(
    station: Station, guarded: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allow(tmp_path, "write flowpi/desk/#")
    with guarded, Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
        await run_again(station, guarded, reader, 1, 2, 3)
        assert numbers(reader) == [1, 2, 3]
    assert sum(BLIND in line for line in caplog.messages) == 3  # once each run
    assert not station.said


async def test_the_right_to_read_it_is_taken_away_and_given_again(
    station: Station, guarded: Broker, tmp_path: Path
) -> None:
    allow(tmp_path, "write flowpi/desk/#", f"read {CURSOR}")
    with guarded, Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
        await run_again(station, guarded, reader, 1, 2)
        assert numbers(reader) == [1, 2]
    allow(tmp_path, "write flowpi/desk/#")
    with guarded, Reader(guarded.port, FINAL, login=("all", "s3cret")) as reader:
        await run_again(station, guarded, reader, 3, 4, 5)
        assert numbers(reader) == [1, 2, 3, 4, 5]  # all once more, and only once
    allow(tmp_path, "write flowpi/desk/#", f"read {CURSOR}")
    with guarded, Reader(guarded.port, FINAL, login=("all", "s3cret")) as reader:
        await run_again(station, guarded, reader, 6, 7)
        assert numbers(reader) == [6, 7]


async def test_the_rights_of_the_documentation_are_enough(station: Station, guarded: Broker, tmp_path: Path) -> None:
    (rights,) = blocks("text", section("docs/mqtt.md", "Rights at the broker"))
    (tmp_path / "acl").write_text(rights.replace("user front-desk", "user pi"))
    with guarded:
        async with station.run(guarded.url, device_id="front-desk", **LOGIN):
            await station.fed()
    assert not station.said


async def test_without_the_right_to_write_it_all_texts_come(
    station: Station, guarded: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rights = [f"write flowpi/desk/{name}" for name in ("availability", "state", "stats", "transcript/final")]
    allow(tmp_path, *rights, f"read {CURSOR}")
    with guarded, Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
        async with station.run(guarded.url, discovery=False, **LOGIN):
            await station.ready()
            await station.say(1, 2, 3)
            await until(lambda: numbers(reader) == [1, 2, 3])
    refused = f"the broker does not keep the position of the texts: the broker does not allow {CURSOR}"
    assert sum(refused in line for line in caplog.messages) == 1
    assert not station.said


async def test_a_subscription_that_is_refused_costs_no_text(station: Station, script: Scripted) -> None:
    script.suback = 0x87
    async with station.run(script.url, discovery=False):
        await station.ready()
        await station.say(1)
        await until(lambda: FINAL in script.published)
    assert not station.said


async def test_a_connection_that_is_lost_while_it_is_asked(station: Station, script: Scripted) -> None:
    async with station.run(script.url, discovery=False):
        await station.fed()
        await station.say(1)
        await until(lambda: json.loads(script.position) == behind(1))
        script.shows = "never"
        connects = script.connects
        script.hang_up()
        await until(lambda: script.connects > connects)
        script.hang_up()  # within the moment
        script.shows = "at once"
        await station.say(2)
        await until(lambda: script.published.count(FINAL) >= 2)
        await asyncio.sleep(0)
        assert script.published.count(FINAL) == 2
