"""Requests about the sinks, with a publisher and sinks that tests control."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.appliance.sink_requests import SinkRequests
from flowpi.publish import feeder
from flowpi.publish.messages import ParkedText, Problem, Request
from tests.publish.test_files import final
from tests.publish.test_sinks import Harness, Recording
from tests.waiting import until


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.01)
    harness = Harness(tmp_path)
    yield harness
    harness.transcripts.close()


async def ask(requests: SinkRequests, action: str, *sinks: str) -> Any:
    return await requests.handle(
        Request(command="sinks", action=action, sinks=list(sinks)) if sinks else Request(command="sinks", action=action)
    )


async def test_list_retry_and_skip(harness: Harness) -> None:
    sink, other = Recording(), Recording()
    sink.refuses_for_good = {1, 2}
    async with harness.run(mqtt=sink, hook=other) as publisher:
        requests = SinkRequests(publisher)
        await until(lambda: (harness.positions / "hook.position").exists())
        await until(lambda: (harness.positions / "mqtt.position").exists())
        await harness.say(1, 2)
        await until(lambda: len(publisher.parked(["mqtt"])) == 2 and len(other.got) == 2)
        answer = await ask(requests, "list")
        assert [one.name for one in answer["sinks"]] == ["mqtt", "hook"]
        assert answer["parked"][0] == ParkedText("mqtt", final(1).id, 1, "it is too long")
        assert (len(answer["parked"]), answer["more"]) == (2, False)
        assert [one.name for one in (await ask(requests, "list", "hook"))["sinks"]] == ["hook"]
        sink.refuses_for_good = {2}
        assert await ask(requests, "retry") == {"count": 2}
        await until(lambda: sink.got == [1])
        await until(lambda: len(publisher.parked(["mqtt"])) == 1)
        assert await ask(requests, "skip", "mqtt", "mqtt") == {"count": 1}
        assert publisher.parked(["mqtt"]) == []


@pytest.mark.parametrize(
    ("action", "sinks", "code", "message"),
    [
        ("list", ["mqt"], "no_such_sink", "there is no sink 'mqt': did you mean mqtt?"),
        ("skip", [], "bad_request", "name the sinks in which to skip"),
        ("drop", [], "bad_request", "action is one of: list, retry, skip"),
    ],
)
async def test_what_is_wrong_is_said(harness: Harness, action: str, sinks: list[str], code: str, message: str) -> None:
    async with harness.run(mqtt=Recording(durable=False)) as publisher:
        assert await ask(SinkRequests(publisher), action, *sinks) == Problem(code, message)


async def test_where_none_is_configured(harness: Harness) -> None:
    async with harness.run() as publisher:
        requests = SinkRequests(publisher)
        assert await ask(requests, "list") == {"sinks": [], "parked": [], "more": False}
        assert await ask(requests, "retry", "mqtt") == Problem(
            "no_such_sink", "there is no sink 'mqtt': none is configured"
        )
