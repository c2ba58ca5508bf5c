"""What the hook reports to the daemon, when, and what it does when that asks for something."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowpi.hook.report import MOST_WITH_REASONS, make_reporter
from flowpi.hook.state import HookState
from flowpi.peer import reporter
from flowpi.peer.standing import Standing
from flowpi.publish.messages import SinkReport, TextId
from flowpi.publish.parked import MOST, REASON_LETTERS, Parked
from flowpi.publish.socket_client import MAX_LINE_BYTES
from tests.clock import SkippingLoop, timers
from tests.hook.scripted_daemon import ScriptedDaemon, payload
from tests.waiting import ticks, until


class Harness:
    def __init__(self, directory: Path) -> None:
        self.daemon = ScriptedDaemon(directory / "socket")
        self.daemon.refusal = None
        self.state = HookState(directory / "state")
        self.standing = Standing()
        self.did: list[str] = []
        self.reporter = make_reporter(
            self.daemon.path,
            self.state,
            self.standing,
            retry=lambda: self.did.append("retry"),
            skip=lambda: self.did.append("skip"),
        )

    async def passed(self, number: int) -> None:
        await self.state.passed(text_id(number))
        self.standing.works()

    async def reports(self, number: int) -> dict[str, Any]:
        """Wait for so many reports, and return the last one."""
        await until(lambda: len(self.daemon.reports) >= number)
        await ticks()
        assert len(self.daemon.reports) == number
        return self.daemon.reports[-1]


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(reporter, "REPORT_S", 0.001)
    monkeypatch.setattr(reporter, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(reporter, "LONGEST_WAIT_S", 0.001)
    one = Harness(tmp_path)
    await one.daemon.start()
    running = asyncio.create_task(one.reporter.run())
    yield one
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await one.daemon.crash()
    one.state.close()


def text_id(number: int) -> TextId:
    return TextId(payload(number)["id"], 1)


def named(number: int, **more: Any) -> dict[str, Any]:
    return {"id": payload(number)["id"], "part": 1, **more}


async def test_it_reports_at_the_start_and_at_each_change(harness: Harness) -> None:
    assert await harness.reports(1) == {"sink": "command", "state": "open"}
    await harness.passed(1)
    assert await harness.reports(2) == {"sink": "command", "state": "open", "last": named(1)}
    harness.standing.failed("the command ended with exit code 75")
    at = harness.standing.error_at
    error = {"error": "the command ended with exit code 75", "error_at": at}
    assert await harness.reports(3) == {"sink": "command", "state": "failing", "last": named(1), **error}
    await harness.state.refuse(text_id(2), "ended with exit code 1")
    await harness.passed(2)
    assert await harness.reports(4) == {
        "sink": "command",
        "state": "open",
        "last": named(2),
        "parked": [named(2, reason="ended with exit code 1")],
        **error,
    }


async def test_while_nothing_changes_it_does_nothing(harness: Harness) -> None:
    await harness.reports(1)
    await until(lambda: timers() == 1)  # that of this wait
    await ticks(100)
    await harness.reports(1)


async def test_what_changes_meanwhile_is_one_report(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, skipping_clock: SkippingLoop
) -> None:
    await harness.reports(1)
    await until(lambda: timers() == 1)  # that of this wait
    monkeypatch.setattr(reporter, "REPORT_S", 1000.0)
    await harness.passed(1)
    await harness.reports(2)
    for number in range(2, 9):
        await harness.passed(number)
    await harness.reports(2)
    skipping_clock.skip(1000)
    assert (await harness.reports(3))["last"] == named(8)


async def test_it_does_what_the_daemon_asks_for_and_reports_again(harness: Harness) -> None:
    for number, what in enumerate(["retry", "skip", "report", "of a later version"], 1):
        await harness.reports(number)
        await until(lambda: harness.daemon._reporter is not None)
        harness.daemon.ask(what)
    await harness.reports(5)
    assert harness.did == ["retry", "skip"]


async def test_after_a_restart_of_the_daemon_it_reports_again(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await harness.reports(1)
    harness.daemon.stopping()
    await harness.daemon.crash()
    await harness.passed(1)
    await harness.daemon.start()
    assert (await harness.reports(2))["last"] == named(1)
    assert "no report" not in caplog.text


async def test_a_daemon_that_does_not_know_of_reports_is_told_at_each_change_and_logged_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness.daemon.refusal = "bad_request"
    for number in (1, 2, 3):
        await harness.reports(number)
        await harness.passed(number)
    await harness.reports(4)
    assert caplog.text.count("the daemon takes no report of this sink, which works all the same: bad_request") == 1
    assert harness.daemon.connections == 1


async def test_a_position_that_the_daemon_does_not_know_is_left_out_until_the_next_text(harness: Harness) -> None:
    await harness.reports(1)
    harness.daemon.refusals = ["no_such_text"]
    await harness.passed(1)
    assert "last" not in await harness.reports(3)
    assert harness.daemon.reports[1]["last"] == named(1)
    await harness.passed(2)
    assert (await harness.reports(4))["last"] == named(2)


@pytest.mark.parametrize("code", ["no_such_sink", "transcripts"])
async def test_what_is_refused_for_now_is_reported_again(harness: Harness, code: str) -> None:
    harness.daemon.refusals = [code, code]
    assert await harness.reports(3) == {"sink": "command", "state": "open"}
    await until(lambda: harness.daemon._reporter is not None)


async def test_texts_meanwhile_do_not_make_it_report_more_often(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "LONGEST_WAIT_S", 1000)
    harness.daemon.refusal = "no_such_sink"
    for number in range(1, 6):
        await harness.passed(number)
        await harness.reports(number + 1)
    await until(lambda: timers() == 2)  # that of the next report, and that of this wait


async def test_a_bug_in_it_does_not_end_it(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.reports(1)
    with monkeypatch.context() as broken:
        broken.setattr(reporter.Reporter, "_report", lambda self: 1 / 0)
        harness.standing.works()
        await until(lambda: harness.daemon.connections > 2)
    await until(lambda: len(harness.daemon.reports) == 2)


@pytest.mark.parametrize("parked", [MOST_WITH_REASONS, MOST], ids=["with_reasons", "most"])
async def test_however_many_were_given_up_it_is_a_line_and_a_report(harness: Harness, parked: int) -> None:
    await harness.reports(1)
    harness.standing.failed("x" * 1000)
    given_up = (Parked("", payload(number)["id"], 1, "x" * REASON_LETTERS) for number in range(parked))
    harness.state.refused.replace(tuple(given_up))
    report = harness.reporter._report()
    line = {"command": "sinks", "action": "report", "report": report, "wait": True, "request": 1}
    assert len(msgspec.json.encode(line)) < MAX_LINE_BYTES
    assert len(msgspec.convert(msgspec.to_builtins(report), SinkReport).parked) == parked
