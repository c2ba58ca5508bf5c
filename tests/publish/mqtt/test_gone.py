"""A broker that is gone, frozen or forgetful, or obeys another machine: the reason is in the fault and in the log."""

from pathlib import Path

import pytest

from flowpi.publish import feeder
from flowpi.publish.mqtt import connection, rivalry
from tests.publish.mqtt.broker import Broker, Reader
from tests.publish.mqtt.scripted import Scripted
from tests.publish.mqtt.station import Broken, Station
from tests.waiting import ticks, until


async def online(broker: Broker) -> None:
    """Wait until the appliance has said all that it says after a connection."""
    with Reader(broker.port, "flowpi/desk/availability") as reader:
        await until(lambda: any(one.payload == b"online" for one in reader.heard))


async def test_a_dead_broker_is_noticed_although_nothing_is_said(
    station: Station, broken: Broken, broker: Broker
) -> None:
    async with station.run(broker.url):
        await online(broker)
        broker.kill()
        await broken("the connection to the broker broke")
        await broken("nobody listens")
        broker.start()
        await until(lambda: not station.fault)
        with Reader(broker.port, "flowpi/#") as reader:
            await until(lambda: any(one.payload == b"online" for one in reader.of("availability")))


async def test_one_that_has_forgotten_everything_is_told_again(
    station: Station, broken: Broken, broker: Broker
) -> None:
    async with station.run(broker.url, last=True):
        await station.ready()
        await online(broker)
        broker.kill()
        broker.forget()
        await broken("the connection to the broker broke")
        await station.say(1)
        broker.start()
        with Reader(broker.port, "#") as reader:
            await until(lambda: reader.of("transcript/last"))
            await until(lambda: any(one.payload == b"online" for one in reader.of("availability")))
            assert reader.of("transcript/last")[0].json["id"].endswith("1")
            assert reader.of("/config")
            assert reader.of("/state")
            assert reader.of("/stats")


async def test_a_frozen_broker_is_noticed_although_nothing_is_said(
    station: Station, broken: Broken, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_S", 1)
    async with station.run(broker.url):
        await online(broker)
        broker.freeze()
        await broken("the broker does not answer any more: is it overloaded, or the network?")
        broker.thaw()
        await until(lambda: not station.fault)


async def test_a_text_that_a_frozen_broker_did_not_acknowledge(
    station: Station, broken: Broken, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.3)
    async with station.run(broker.url):
        await station.fed()
        await online(broker)
        broker.freeze()
        await station.say(1)
        await broken("the broker does not answer (flowpi/desk/transcript/final)")
        broker.kill()  # with what the kernel still held for it
        broker.start()
        with Reader(broker.port, "flowpi/#") as reader:
            await until(lambda: not station.fault)
            await station.say(2)
            await until(lambda: len(reader.of("transcript/final")) >= 1)
            await until(lambda: reader.of("transcript/final")[-1].json["id"].endswith("2"))


@pytest.mark.parametrize("number", [100, pytest.param(1000, marks=pytest.mark.long)])
async def test_many_texts_wait_for_the_broker(station: Station, broken: Broken, broker: Broker, number: int) -> None:
    async with station.run(broker.url):
        await station.ready()
        broker.kill()
        await broken("nobody listens")
        await station.say(*range(1, number + 1))
        broker.start()
        with Reader(broker.port, "flowpi/+/transcript/final") as reader:
            await until(lambda: bool(reader.heard) and reader.heard[-1].json["id"].endswith(f"{number:06}"))
            heard = [int(one.json["id"][-6:]) for one in reader.heard]
            assert heard == sorted(set(heard))


# Two machines with one device_id


async def test_the_broker_says_that_another_one_took_over(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivalry, "HOLD_S", 0.5)
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.disconnect(0x8E)
        await broken("another client took the place at the broker (0x8E, Session taken over)")
        await broken("another machine uses the device_id 'desk' at the broker: set device_id on one of them")
        assert script.connects == 1
        await until(lambda: not station.fault)
        assert script.connects == 2


async def test_it_only_closes_the_connection(station: Station, broken: Broken, script: Scripted) -> None:
    async with station.run(script.url):
        for number in range(1, 4):
            await until(lambda many=number: script.connects == many and not station.fault)  # type: ignore[misc]
            script.hang_up()
        await broken("another machine uses the device_id 'desk' at the broker")
        assert script.connects == 3


async def test_a_broker_that_comes_and_goes_is_no_second_machine(
    station: Station, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It waits until the broker is there again, however long that takes to start.
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 1000.0)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 1000.0)
    async with station.run(broker.url) as publisher:
        for _ in range(rivalry.IN_A_ROW + 1):
            await online(broker)
            broker.kill()
            await until(lambda: station.fault)
            await ticks()
            broker.start()
            publisher.retry(["mqtt"])
            await until(lambda: not station.fault)
    assert set(station.said) == {"the connection to the broker broke"}


async def test_two_machines_at_a_real_broker(
    station: Station, broker: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Station(tmp_path / "other")
    reason = "another machine uses the device_id 'desk' at the broker"
    async with station.run(broker.url), other.run(broker.url):
        await until(lambda: reason in str(station.said + other.said))
        assert reason in caplog.text
    other.transcripts.close()
