"""The hook on the real socket, with real transcripts: what it asks for is what the daemon understands."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.appliance.sink_requests import SinkRequests
from flowpi.appliance.text_requests import TextRequests
from flowpi.config.command import CommandSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.hook import command, worker
from flowpi.hook.command import Outcome
from flowpi.hook.report import make_reporter
from flowpi.hook.state import HookState
from flowpi.hook.worker import Hook
from flowpi.peer import reporter
from flowpi.peer.standing import Standing
from flowpi.publish.messages import Problem, Request, SinkPayload, TextId
from flowpi.publish.publisher import Publisher
from tests.publish.test_files import final
from tests.publish.test_replay import ReplayHarness
from tests.waiting import PATIENCE_S, until


class Daemon(ReplayHarness):
    """It has the hook among its sinks, too."""

    async def start(self) -> None:
        await super().start()
        self.faults: dict[str, str] = {}
        settings = CommandSettings(run=("/bin/true",))
        self.publisher = Publisher(
            Config(publish=PublishSettings(command=settings)),
            self.hub,
            self.transcripts,
            self.directory / "sinks",
            fault=self.faults.__setitem__,
            clear=lambda code: self.faults.pop(code, None),
        )
        self.sinks = SinkRequests(self.publisher)
        await self.publisher.open()

    async def kill(self) -> None:
        await self.publisher.close()
        await super().kill()

    async def _command(self, request: Request, user: int | None) -> dict[str, Any] | Problem:
        if request.command == "sinks":
            return await self.sinks.handle(request, user)
        return await TextRequests(self.history, self.transcripts).handle(request)

    async def shown(self, **members: object) -> SinkPayload:
        """Wait until the daemon shows the hook so, and return all that it shows."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (one,) = await self.sinks.sinks()
                if all(getattr(one, name) == value for name, value in members.items()):
                    return one
                await asyncio.sleep(0)


class Runs:
    """The program: it keeps the texts, and fails for those in `fails`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails: set[str] = set()
        self.later: set[str] = set()
        """The texts that it does not accept now."""

    async def run(self, argv: Any, line: bytes, about: dict[str, str], timeout_s: float) -> Outcome:
        payload = json.loads(line)["payload"]
        assert (about["FLOWPI_ID"], about["FLOWPI_PART"]) == (payload["id"], str(payload["part"]))
        self.texts.append(payload["id"])
        await asyncio.sleep(0)
        return Outcome(75 if payload["id"] in self.later else 1 if payload["id"] in self.fails else 0)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    one = Daemon(tmp_path)
    await one.start()
    yield one
    await one.kill()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    one = Runs()
    monkeypatch.setattr(command, "run", one.run)
    monkeypatch.setattr(worker, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(worker, "LONGEST_ABSENCE_S", 0.001)
    for name in ("REPORT_S", "FIRST_WAIT_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(reporter, name, 0.001)
    return one


@pytest.fixture
async def hook(daemon: Daemon, runs: Runs, tmp_path: Path) -> AsyncIterator[Hook]:
    await daemon.say(1, 2)
    state = HookState(tmp_path / "state")
    standing, socket = Standing(), tmp_path / "flowpi.sock"
    one = Hook(CommandSettings(run=("/bin/true",)), socket, state, standing)
    reporting = make_reporter(socket, state, standing, retry=one.retry, skip=one.skip)
    tasks = [asyncio.create_task(one.run()), asyncio.create_task(reporting.run())]
    await until(lambda: state.position == TextId(final(2).id, 1))
    assert runs.texts == [final(1).id, final(2).id]  # they came before the hook, and after the daemon
    runs.texts.clear()
    yield one
    await stop(tasks)
    state.close()


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_daemon_that_starts_again_and_again_costs_no_text_and_repeats_none(
    daemon: Daemon, hook: Hook, runs: Runs
) -> None:
    for number in range(3, 43, 2):
        await daemon.say(number)
        if number % 4 == 3:
            await daemon.kill()
            await daemon.start()
        await daemon.say(number + 1)
    await until(lambda: len(runs.texts) >= 40)
    assert runs.texts == [final(number).id for number in range(3, 43)]


async def test_what_was_refused_is_fetched_from_the_transcripts(daemon: Daemon, hook: Hook, runs: Runs) -> None:
    await daemon.say(3)
    await until(lambda: len(runs.texts) == 1)
    runs.fails = {final(4).id}
    await daemon.say(4, 5)
    await until(lambda: hook._state.position is not None and hook._state.position.id == final(5).id)
    assert runs.texts[1:] == [final(4).id] * 3 + [final(5).id]
    assert [one.id for one in hook._state.refused.texts] == [final(4).id]
    runs.fails.clear()
    hook.retry()
    await until(lambda: not hook._state.refused.texts)
    assert runs.texts[5:] == [final(4).id]


@pytest.mark.usefixtures("hook")
async def test_the_daemon_shows_it_as_a_sink(daemon: Daemon, runs: Runs) -> None:
    await daemon.shown(state="open", waiting=0, last=TextId(final(2).id, 1))
    runs.later = {final(3).id}
    await daemon.say(3, 4)
    one = await daemon.shown(state="failing", waiting=2)
    assert (one.error, one.last) == ("the command ended with exit code 75", TextId(final(2).id, 1))
    assert daemon.faults == {"sink.command": "the command ended with exit code 75"}
    runs.later, runs.fails = set(), {final(4).id}
    await daemon.shown(state="open", waiting=0, last=TextId(final(4).id, 1), parked=1)
    assert list(daemon.faults) == ["undelivered.command"]
    answer = await daemon.sinks.handle(Request(command="sinks", action="list"))
    assert isinstance(answer, dict)
    assert [(one.id, one.reason) for one in answer["parked"]] == [(final(4).id, "ended with exit code 1")]
    await daemon.kill()
    await daemon.start()
    await daemon.shown(state="open", waiting=0, parked=1)


async def test_sinks_retry_and_skip_do_what_hook_retry_and_skip_do(
    daemon: Daemon, hook: Hook, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(action: str) -> Any:
        return await daemon.sinks.handle(Request(command="sinks", action=action, sinks=["command"]))

    monkeypatch.setattr(worker, "FIRST_WAIT_S", 1000.0)
    runs.later = {final(3).id}
    await daemon.say(3)
    await daemon.shown(state="failing")
    await until(lambda: hook._blocked)
    assert await ask("skip") == {"count": 1}
    await daemon.shown(state="open", waiting=0, parked=1)
    await until(lambda: hook._feed is not None)
    assert await ask("skip") == {"count": 1}
    await until(lambda: not hook._state.refused.texts)
    await daemon.shown(state="open", parked=0)
    runs.later = {final(4).id}
    await daemon.say(4)
    await daemon.shown(state="failing")
    await until(lambda: hook._blocked)
    assert await ask("retry") == {"count": 1}
    await until(lambda: runs.texts == [final(number).id for number in (3, 4, 4)])


async def test_the_daemon_sees_it_leave_and_keeps_its_place(daemon: Daemon, runs: Runs, tmp_path: Path) -> None:
    sink = daemon.publisher.remote("command")
    assert sink is not None
    state, standing = HookState(tmp_path / "state"), Standing()
    one = Hook(CommandSettings(run=("/bin/true",)), tmp_path / "flowpi.sock", state, standing)
    reporting = make_reporter(tmp_path / "flowpi.sock", state, standing, retry=one.retry, skip=one.skip)
    tasks = [asyncio.create_task(one.run()), asyncio.create_task(reporting.run())]
    await daemon.say(1)
    await until(lambda: sink._waiting is not None)
    await until(lambda: one._feed is not None)
    await daemon.say(2)
    await daemon.shown(waiting=0, last=TextId(final(2).id, 1))
    await stop(tasks)
    state.close()
    await until(lambda: sink._waiting is None)
    await daemon.say(3)
    assert (await daemon.shown(waiting=1)).last == TextId(final(2).id, 1)
