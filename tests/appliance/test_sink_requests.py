"""Requests about the sinks, with a publisher and sinks that tests control."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flowpi.appliance.sink_requests import SinkRequests
from flowpi.publish import feeder
from flowpi.publish.messages import ParkedText, Problem, Request, SinkPayload, TextId
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.publish.test_files import final
from tests.publish.test_remote import Daemon
from tests.waiting import PATIENCE_S, ticks, until


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
        ("drop", [], "bad_request", "action is one of: list, retry, skip, report"),
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


class TestReports:
    @pytest.fixture
    async def requests(self, tmp_path: Path) -> AsyncIterator[SinkRequests]:
        daemon = Daemon(tmp_path)
        async with daemon.run() as running:
            await daemon.say(1, 2)
            yield SinkRequests(running)
        daemon.transcripts.close()

    async def report(self, requests: SinkRequests, user: int | None = os.geteuid(), **members: Any) -> Any:
        report = {"sink": "command", "state": "open", **members}
        return await requests.handle(Request(command="sinks", action="report", report=report), user)

    async def sink(self, requests: SinkRequests) -> SinkPayload:
        (one,) = await requests.sinks()
        return one

    async def test_it_is_listed_with_the_others(self, requests: SinkRequests) -> None:
        parked = [{"id": final(1).id, "part": 1, "reason": "why"}]
        last = {"id": final(1).id, "part": 1}
        assert await self.report(requests, last=last, parked=parked, of_a_later_version=1) == {}
        answer = await ask(requests, "list", "command")
        assert (answer["sinks"][0].last, answer["sinks"][0].parked) == (TextId(final(1).id, 1), 1)
        assert answer["parked"] == [ParkedText("command", final(1).id, 1, "why")]

    async def test_with_wait_it_is_answered_when_somebody_asks_for_something(self, requests: SinkRequests) -> None:
        report = {"sink": "command", "state": "open"}
        request = Request(command="sinks", action="report", report=report, wait=True)
        answer = asyncio.create_task(requests.handle(request, os.geteuid()))
        await until(lambda: requests._publisher.remote("command")._waiting)  # type: ignore[union-attr]
        assert await ask(requests, "retry", "command") == {"count": 1}
        assert await answer == {"do": "retry"}

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"sink": 3}, "report.sink: Expected `str`, got `int`"),
            ({"state": "fine"}, "report.state: Invalid enum value 'fine'"),
            ({"error": "x" * 501}, "report.error: Expected `str` of length <= 500"),
            ({"error_at": "now"}, "report.error_at: Expected `str` matching regex"),
            ({"last": {"id": 1, "part": 1}}, "report.last.id: Expected `str`, got `int`"),
            ({"last": {"id": "x", "part": 1}}, "report.last is the id and the part of a text"),
            ({"parked": [{"id": "x"}]}, "report.parked[0]: Object missing required field `part`"),
            ({"parked": [{"id": "x", "part": 1}] * 1001}, "report.parked: Expected `array` of length <= 1000"),
        ],
    )
    async def test_one_that_is_wrong_is_refused_and_harms_nothing(
        self, requests: SinkRequests, members: dict[str, Any], message: str
    ) -> None:
        before = await self.sink(requests)
        problem = await self.report(requests, **members)
        assert problem.code == "bad_request"
        assert problem.message.startswith(message)
        assert await self.sink(requests) == before

    @pytest.mark.parametrize("report", [None, 1, "x", [], {}])
    async def test_one_that_is_none_is_refused(self, requests: SinkRequests, report: Any) -> None:
        for request in (Request(command="sinks", action="report", report=report), Request(action="report")):
            problem = await requests.handle(request, os.geteuid())
            assert isinstance(problem, Problem)
            assert problem.code == "bad_request"

    @pytest.mark.parametrize("name", ["keyboard", "mqtt", "../command", "a\nb"])
    async def test_of_another_sink_it_is_refused(self, requests: SinkRequests, name: str) -> None:
        problem = await self.report(requests, sink=name, last={"id": final(2).id, "part": 1})
        assert problem.code == "no_such_sink"
        assert (await self.sink(requests)).waiting == 2

    async def test_only_the_service_the_user_of_the_daemon_and_root_may_report(
        self, requests: SinkRequests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A member of the group may run `flowpi hook` as well, which is at another text."""
        monkeypatch.setattr("flowpi.publish.remote.pwd.getpwnam", lambda name: SimpleNamespace(pw_uid=4711))
        monkeypatch.setattr("flowpi.publish.remote.os.geteuid", lambda: 4712)
        last = {"id": final(2).id, "part": 1}
        for user in (4713, None):
            problem = await self.report(requests, user, last=last)
            assert problem == Problem("not_permitted", "only its service may report for the sink command")
        assert (await self.sink(requests)).waiting == 2
        for user in (4711, 4712, 0):
            assert await self.report(requests, user, last=last) == {}

    async def test_a_database_of_users_that_does_not_answer_stops_nobody_else(
        self, requests: SinkRequests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = threading.Event()

        def getpwnam(name: str) -> SimpleNamespace:
            assert answers.wait(PATIENCE_S)
            return SimpleNamespace(pw_uid=4711)

        monkeypatch.setattr("flowpi.publish.remote.pwd.getpwnam", getpwnam)
        asked = asyncio.create_task(self.report(requests, 4713))
        await ticks()
        assert await self.report(requests, 0) == {}
        answers.set()
        assert (await asked).code == "not_permitted"

    async def test_where_there_is_no_user_of_the_service(
        self, requests: SinkRequests, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flowpi.publish.remote.os.geteuid", lambda: 4712)
        assert (await self.report(requests, 4713)).code == "not_permitted"

    async def test_one_that_is_away_is_passed_over_unless_it_is_named(self, requests: SinkRequests) -> None:
        assert await ask(requests, "retry") == {"count": 0}
        why = "`flowpi hook` does not run, or does not report: sudo systemctl restart flowpi-hook"
        assert await ask(requests, "retry", "command") == Problem("sink_absent", why)
        assert await ask(requests, "skip", "command") == Problem("sink_absent", why)
