"""What a broker does wrong or refuses: the reason is in the fault and in the log, and no text is passed over."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.secret import Secret
from flowpi.publish.mqtt import connection, sink
from flowpi.publish.mqtt.packets import MAX_PACKET_BYTES
from tests.ports import free_port
from tests.publish.mqtt.broker import Broker, Reader, write_users
from tests.publish.mqtt.scripted import Scripted
from tests.publish.mqtt.station import Broken, Parked, Station
from tests.waiting import ticks, until

# Nobody to talk to


async def test_nobody_listens(station: Station, broken: Broken) -> None:
    port = free_port()
    async with station.run(f"mqtt://127.0.0.1:{port}"):
        await broken(f"nobody listens on 127.0.0.1:{port}: start the broker, or check publish.mqtt.url")


async def test_a_name_without_an_address(station: Station, broken: Broken) -> None:
    async with station.run("mqtt://no-such-host.invalid"):
        await broken("the name 'no-such-host.invalid' has no address: check publish.mqtt.url and the network")


async def test_no_such_socket(station: Station, broken: Broken, tmp_path: Path) -> None:
    async with station.run(f"unix://{tmp_path}/no.sock"):
        await broken("no.sock cannot be used (No such file or directory): start the broker")


async def test_it_accepts_and_says_nothing(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    script.hello = b""
    async with station.run(script.url):
        await broken("accepts the connection and says nothing: is it an MQTT broker?")
        await until(lambda: script.connects >= 2)
        assert script.published == []  # not even that it is offline


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\xff\xff\xff\xff\x7f",
        b"\x20\x03\x00\x00\xff",
        b"\x00\x00",
        b"\x30" + b"\x84\x80\x04" + b"x" * 100,  # a packet of more than 64 KiB begins
    ],
)
async def test_it_sends_something_else(station: Station, broken: Broken, script: Scripted, said: bytes) -> None:
    script.hello = said
    async with station.run(script.url):
        await broken(f"{script.url.removeprefix('mqtt://')} ")
        assert "MQTT" in station.said[0]


async def test_a_broker_without_acknowledgements(station: Station, broken: Broken, script: Scripted) -> None:
    script.hello = b"\x20\x05\x00\x00\x02\x24\x00"  # maximum QoS: 0
    async with station.run(script.url):
        await broken("has no QoS 1: flowpi needs another broker")


async def test_a_broker_that_takes_one_message_at_a_time(station: Station, tmp_path: Path) -> None:
    with Broker(tmp_path / "broker", "max_inflight_messages 1") as broker, Reader(broker.port, "#") as reader:
        async with station.run(broker.url):
            await until(lambda: reader.of("availability")[1:])
            for number in range(30):
                station.hub.publish("state", {"state": "idle", "number": number})
            await station.say(1)
            await until(lambda: reader.of("transcript/final") and reader.of("/state")[-1].json.get("number") == 29)
        assert [one.json["number"] for one in reader.of("/state")[-30:]] == list(range(30))
    assert not station.said


async def test_no_more_at_once_than_the_broker_takes(station: Station, script: Scripted) -> None:
    script.hello = b"\x20\x06\x00\x00\x03\x21\x00\x02"  # receive maximum: 2
    script.puback = lambda topic: None if topic.endswith(("state", "stats")) else 0
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        await ticks()
        assert script.published.count("flowpi/desk/availability") == 1  # "online" waits
    assert not station.said


async def test_garbage_in_the_middle(station: Station, broken: Broken, script: Scripted) -> None:
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.send(b"\x30\x05\x00\x20ab\xff")  # a topic that is longer than its packet
        await broken("sends what is no MQTT")
        await until(lambda: script.connects >= 2 and not station.fault)


async def test_a_packet_that_is_too_large_costs_no_memory(station: Station, broken: Broken, script: Scripted) -> None:
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.send(b"\x30\xff\xff\xff\x7f" + bytes(MAX_PACKET_BYTES))
        await broken("sends what is no MQTT")


async def test_a_message_with_qos_2(station: Station, broken: Broken, script: Scripted) -> None:
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.send(b"\x34\x06\x00\x01t\x00\x01\x00")
        await broken("sends what is no MQTT (a message with QoS 2, where QoS 1 was asked for)")
        await until(lambda: script.connects == 2 and not station.fault)


async def test_it_sends_and_does_not_read(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT_BYTES", 1000)
    monkeypatch.setattr(connection, "ANSWER_S", 120.0)  # it is not for its silence that the connection ends
    monkeypatch.setattr(connection, "KEEPALIVE_S", 120)
    # Of a Unix socket the kernel holds few messages, however small they are.
    server = await asyncio.start_unix_server(script.serve, tmp_path / "sock")
    async with server, station.run(f"unix://{tmp_path}/sock"):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.stop_reading()
        script.send(b"\x32\x06\x00\x01t\x00\x01\x00" * 5000)  # each wants an acknowledgement
        await broken("the broker sends, and does not read what it is sent")
        await until(lambda: script.connects == 2 and not station.fault)


async def test_it_does_not_read_what_is_shown(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT_BYTES", 1000)
    monkeypatch.setattr(connection, "ANSWER_S", 120.0)
    monkeypatch.setattr(connection, "KEEPALIVE_S", 120)
    monkeypatch.setattr(sink, "LINGER_S", 0.0)
    server = await asyncio.start_unix_server(script.serve, tmp_path / "sock")
    async with server, station.run(f"unix://{tmp_path}/sock", partial=True):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.stop_reading()
        for _ in range(500):
            station.hub.publish("transcript/partial", {"text": "x" * 10_000})
            await ticks(2)
        await broken("the broker takes no messages: is it overloaded, or the network?")
        await until(lambda: script.connects == 2 and not station.fault)


# Refused


@pytest.fixture
def guarded(tmp_path: Path) -> Broker:
    """A broker with the user pi, who may publish what a test writes into its ACL."""
    (tmp_path / "broker").mkdir()
    write_users(tmp_path / "passwords", {"pi": "s3cret", "all": "s3cret"})
    lines = f"password_file {tmp_path}/passwords\nacl_file {tmp_path}/acl"
    return Broker(tmp_path / "broker", lines, anonymous=False)


LOGIN: dict[str, Any] = {"username": "pi", "password": Secret("literal", "s3cret")}


def allow(tmp_path: Path, *topics: str) -> None:
    mine = "\n".join(f"topic write {topic}" for topic in topics)
    (tmp_path / "acl").write_text(f"user pi\n{mine}\ntopic read homeassistant/status\nuser all\ntopic readwrite #\n")


async def test_a_wrong_password(station: Station, broken: Broken, guarded: Broker, tmp_path: Path) -> None:
    allow(tmp_path, "#")
    with guarded:
        async with station.run(guarded.url, username="pi", password=Secret("literal", "wr0ng")):
            await broken(f"127.0.0.1:{guarded.port} refuses the connection (0x87, Not authorized): check publish.mqtt")
            assert not any("wr0ng" in said for said in station.said)


async def test_a_password_that_cannot_be_read(
    station: Station, broken: Broken, guarded: Broker, tmp_path: Path
) -> None:
    async with station.run(guarded.url, username="pi", password=Secret("file", str(tmp_path / "absent"))):
        await broken("publish.mqtt.password cannot be used (cannot read it (No such file or directory))")


async def test_a_password_that_mqtt_cannot_send(
    station: Station, broken: Broken, guarded: Broker, tmp_path: Path
) -> None:
    (tmp_path / "long").write_text("s" * 65_536)
    async with station.run(guarded.url, username="pi", password=Secret("file", str(tmp_path / "long"))):
        await broken("publish.mqtt.password is 65536 bytes long, and MQTT sends 65535 at most: choose a shorter one")


async def test_what_the_acl_denies_is_not_delivered(
    station: Station, broken: Broken, guarded: Broker, tmp_path: Path
) -> None:
    allow(tmp_path, "homeassistant/#", "flowpi/desk/availability", "flowpi/desk/state", "flowpi/desk/stats")
    with guarded, Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
        async with station.run(guarded.url, **LOGIN):
            await station.ready()
            await until(lambda: reader.of("availability")[1:])
            await station.say(1, 2)
            await broken("the broker does not allow flowpi/desk/transcript/final (0x87, Not authorized): allow it in")
            assert not reader.of("transcript/final")
            allow(tmp_path, "#")
            guarded.kill()
            guarded.start()
            with Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
                await until(lambda: not station.fault)
                await until(lambda: len(reader.of("transcript/final")) == 2)
                assert [one.json["id"][-1] for one in reader.of("transcript/final")] == ["1", "2"]


async def test_an_acl_without_discovery_costs_no_text(
    station: Station, guarded: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allow(tmp_path, "flowpi/desk/#")
    with guarded, Reader(guarded.port, "#", login=("all", "s3cret")) as reader:
        async with station.run(guarded.url, **LOGIN):
            await station.ready()
            await station.say(1)
            await until(lambda: reader.of("transcript/final"))
    assert not station.said
    assert any("Home Assistant is not told: the broker does not allow homeassistant/" in one for one in caplog.messages)


async def test_a_subscription_is_refused(
    station: Station, broken: Broken, script: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    script.suback = 0x87
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        refused = "the broker does not let flowpi read homeassistant/status (0x87, Not authorized)"
        assert any(refused in line for line in caplog.messages)
    assert not station.said
    async with station.run(script.url, commands=("record",)):
        await broken(
            "does not let flowpi read flowpi/desk/command (0x87, Not authorized): allow it in the broker's ACL"
        )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x97, "the broker's quota is used up at flowpi/desk/transcript/final (0x97, Quota exceeded)"),
        (0x83, "the broker refuses a message to flowpi/desk/transcript/final (0x83, Implementation specific error)"),
    ],
)
async def test_a_refused_text_is_not_delivered(
    station: Station, broken: Broken, script: Scripted, code: int, reason: str
) -> None:
    script.puback = lambda topic: code if topic.endswith("final") else 0
    async with station.run(script.url):
        await station.ready()
        await station.say(1)
        await broken(reason)
        script.puback = lambda topic: 0x10  # nobody is subscribed: delivered
        await until(lambda: not station.fault)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x95, "the broker refuses a message to flowpi/desk/transcript/final for its size (0x95, Packet too large)"),
        (0x99, "for its form (0x99, Payload format invalid)"),
        (0x90, "for its topic (0x90, Topic name invalid)"),
    ],
)
async def test_a_text_that_is_refused_for_good_is_parked(
    station: Station, parked: Parked, script: Scripted, code: int, reason: str
) -> None:
    script.puback = lambda topic: code if topic.endswith("final") else 0
    async with station.run(script.url) as publisher:
        await station.ready()
        await station.say(1)
        await parked(publisher, reason)
        script.puback = lambda topic: 0
        sent = script.published.count("flowpi/desk/transcript/final")
        await station.say(2)  # the others do not wait for it
        await until(lambda: script.published.count("flowpi/desk/transcript/final") == sent + 1)
        publisher.retry(["mqtt"])
        await until(lambda: not publisher.parked(["mqtt"]))
        assert not station.fault


async def test_never_an_acknowledgement(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    script.puback = lambda topic: None if topic.endswith("final") else 0
    async with station.run(script.url):
        await station.ready()
        await station.say(1)
        await broken("the broker does not answer (flowpi/desk/transcript/final)")
        script.puback = lambda topic: 0
        await until(lambda: not station.fault)
        # Nothing was sent again behind the publisher's back: one text a connection.
        assert script.published.count("flowpi/desk/transcript/final") <= script.connects


async def test_never_an_acknowledgement_although_nothing_is_said(
    station: Station, broken: Broken, script: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_S", 0.2)
    async with station.run(script.url):
        await until(lambda: "flowpi/desk/stats" in script.published)
        script.puback = lambda topic: None
        station.hub.publish("state", {"state": "recording"})
        await broken("the broker does not answer (flowpi/desk/state)")


async def test_a_text_that_is_too_large(station: Station, parked: Parked, tmp_path: Path) -> None:
    with Broker(tmp_path / "broker", "message_size_limit 8000") as broker:
        async with station.run(broker.url) as publisher:
            await station.ready()
            await station.say(1, text="x" * 9000)
            await parked(publisher, "for its size (0x95, Packet too large)")


async def test_a_packet_that_is_too_large_is_not_even_sent(station: Station, parked: Parked, tmp_path: Path) -> None:
    with Broker(tmp_path / "broker", "max_packet_size 8000") as broker:
        async with station.run(broker.url) as publisher:
            await station.ready()
            await station.say(1, text="x" * 9000)
            await parked(publisher, "bytes, and the broker accepts 8000: raise max_packet_size at the broker")
        assert "flowpi/desk/transcript/final" not in broker.log


async def test_disconnected_for_the_size(station: Station, parked: Parked, script: Scripted) -> None:
    def puback(topic: str) -> int | None:
        if topic.endswith("final"):
            script.disconnect(0x95)
            return None
        return 0

    script.puback = puback
    async with station.run(script.url) as publisher:
        await station.ready()
        await station.say(1)
        await parked(
            publisher, "the broker ended the connection (0x95, Packet too large) at flowpi/desk/transcript/final"
        )
