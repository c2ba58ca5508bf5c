"""The messages of a webhook that are no texts: sent once, in order, beside the texts, to a receiver that verifies."""

import json
import logging
from typing import Any

import pytest

from flowpi.core import topics
from flowpi.publish.messages import ButtonPayload, Failed
from flowpi.publish.webhook.live import MOST_WAITING
from tests.publish.test_files import final
from tests.publish.webhook import receiver as receivers
from tests.publish.webhook.receiver import answer
from tests.publish.webhook.station import Station
from tests.waiting import ticks

ALSO_BUTTON = (topics.FINAL, topics.BUTTON)


def pressed(station: Station, kind: str) -> None:
    station.hub.publish(topics.BUTTON, ButtonPayload(kind))


def kinds(station: Station) -> list[str]:
    """The gestures that were accepted."""
    return [body["data"]["kind"] for body in station.receiver.accepted if body["type"] == "event.button"]


def types(station: Station) -> list[Any]:
    return [json.loads(request.body)["type"] for request in station.receiver.requests]


async def opened(station: Station, running: Any) -> None:
    async def states() -> list[str]:
        return [one.state for one in await running.sinks()]

    while await states() != ["open"]:
        await ticks()


async def test_what_is_sent_verifies_and_has_an_id_of_its_own(station: Station) -> None:
    async with station.run(sink=station.sink(filters=("transcript/failed", "event/+"))) as running:
        await opened(station, running)
        station.hub.publish(topics.FAILED, Failed("01JAZZ", 1, "no text", True))
        station.hub.publish(topics.PARTIAL, "not asked for")
        for kind in ("pressed", "pressed"):
            pressed(station, kind)
        await station.clock.until(lambda: len(station.receiver.accepted) == 3)
    first, *buttons = station.receiver.accepted
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "type": "transcript.failed",
        "data": {"id": "01JAZZ", "part": 1, "reason": "no text", "retry": True},
    }
    assert [body["type"] for body in buttons] == ["event.button"] * 2
    assert len({request.headers["webhook-id"] for request in station.receiver.requests}) == 3


async def test_who_wants_no_texts_gets_none_and_none_wait(station: Station) -> None:
    async with station.run(sink=station.sink(filters=("event/button",))) as running:
        await opened(station, running)
        await station.say(1)
        pressed(station, "tap")
        await station.clock.until(lambda: kinds(station) == ["tap"])
        (shown,) = await running.sinks()
        assert (shown.waiting, shown.last) == (0, None)
    assert types(station) == ["event.button"]


async def test_a_message_that_is_not_accepted_is_lost_and_no_fault(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    station.receiver.script = [answer(500), receivers.reset, answer(204), answer(500)]
    async with station.run(sink=station.sink(filters=ALSO_BUTTON)) as running:
        await opened(station, running)
        for kind in ("pressed", "released", "tap", "hold", "double"):
            pressed(station, kind)
        await station.clock.until(lambda: kinds(station) == ["double"])
        assert not station.faults
    assert types(station) == ["event.button"] * 5
    where = f"127.0.0.1:{station.receiver.port}: a message of event/button is lost"
    lost = [(one.levelname, one.getMessage()) for one in caplog.records if "is lost" in one.getMessage()]
    assert lost == [
        ("WARNING", f"{where}: it answers 500"),
        ("DEBUG", f"{where}: the connection broke"),
        ("WARNING", f"{where}: it answers 500"),
    ]


async def test_a_text_is_no_live_message(station: Station) -> None:
    async with station.run(sink=station.sink(filters=("transcript/#", "event/button"))) as running:
        await opened(station, running)
        await station.say(1)
        station.hub.publish(topics.FINAL, final(1))
        await station.until_sent(1)
        pressed(station, "tap")
        await station.clock.until(lambda: kinds(station))
    assert types(station) == ["transcript.final", "event.button"]


async def test_what_waits_when_it_closes_is_lost(station: Station) -> None:
    station.receiver.script = [receivers.mute, answer(503, Retry_After="1000")]
    async with station.run(sink=station.sink(filters=ALSO_BUTTON)) as running:
        await opened(station, running)
        pressed(station, "being sent")
        await station.clock.until(lambda: station.receiver.requests)
        pressed(station, "waiting")
        await station.say(1)
        await station.until_failed(1)
        running.retry(["sink"])
        await station.clock.until(lambda: not station.faults)
        pressed(station, "new")
        await station.clock.until(lambda: kinds(station))
        assert kinds(station) == ["new"]


async def test_one_at_a_time_and_of_too_many_the_oldest_are_dropped(station: Station) -> None:
    station.receiver.script = [receivers.mute]
    async with station.run(sink=station.sink(filters=ALSO_BUTTON)) as running:
        await opened(station, running)
        pressed(station, "first")
        await station.clock.until(lambda: station.receiver.requests)
        for number in range(MOST_WAITING + 10):
            pressed(station, str(number))
        await station.say(1)  # a text waits for none of them
        await station.clock.until(lambda: station.receiver.accepted)
        assert types(station) == ["event.button", "transcript.final"]
        station.clock.skip(15)
        last = [str(number) for number in range(10, MOST_WAITING + 10)]
        await station.clock.until(lambda: kinds(station) == last)


async def test_nothing_is_sent_while_the_texts_fail_and_what_came_then_is_lost(station: Station) -> None:
    station.receiver.script = [answer(503, Retry_After="1000")]
    async with station.run(sink=station.sink(filters=ALSO_BUTTON)):
        await station.say(1)
        await station.until_failed(1)
        pressed(station, "lost")
        station.clock.skip(1001)
        await station.clock.until(lambda: not station.faults)
        pressed(station, "shown")
        await station.clock.until(lambda: kinds(station) == ["shown"])
    assert types(station) == ["transcript.final", "transcript.final", "event.button"]


async def test_what_is_kept_is_sent_when_it_opens_unless_the_receiver_has_it(station: Station) -> None:
    def states() -> list[str]:
        return [body["data"] for body in station.receiver.accepted if body["type"] == "state"]

    station.hub.publish(topics.STATE, "idle")
    async with station.run(sink=station.sink(filters=(topics.FINAL, topics.STATE))) as running:
        await station.clock.until(lambda: states() == ["idle"])
        for number in (1, 2):
            station.receiver.script = [answer(503, Retry_After="1000")]
            await station.say(number)
            await station.clock.until(lambda: station.faults)
            if number == 2:
                station.hub.publish(topics.STATE, "recording")
            running.retry(["sink"])
            await station.clock.until(lambda: not station.faults)
        await station.clock.until(lambda: len(states()) > 1)
        await ticks(100)
    assert states() == ["idle", "recording"]
