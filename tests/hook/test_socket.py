"""The hook on the real socket, with real transcripts: what it asks for is what the daemon understands."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.appliance.text_requests import TextRequests
from flowpi.config.command import CommandSettings
from flowpi.hook import command, worker
from flowpi.hook.command import Outcome
from flowpi.hook.state import HookState
from flowpi.hook.worker import Hook
from flowpi.publish.messages import Problem, Request
from tests.publish.test_files import final
from tests.publish.test_replay import ReplayHarness
from tests.waiting import until


class Daemon(ReplayHarness):
    async def _command(self, request: Request) -> dict[str, Any] | Problem:
        return await TextRequests(self.history, self.transcripts).handle(request)


class Runs:
    """The program: it keeps the texts, and fails for those in `fails`."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails: set[str] = set()

    async def run(self, argv: Any, line: bytes, about: dict[str, str], timeout_s: float) -> Outcome:
        payload = json.loads(line)["payload"]
        assert (about["FLOWPI_ID"], about["FLOWPI_PART"]) == (payload["id"], str(payload["part"]))
        self.texts.append(payload["id"])
        await asyncio.sleep(0)
        return Outcome(1 if payload["id"] in self.fails else 0)


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
    return one


@pytest.fixture
async def hook(daemon: Daemon, runs: Runs, tmp_path: Path) -> AsyncIterator[Hook]:
    await daemon.say(1, 2)
    state = HookState(tmp_path / "state")
    one = Hook(CommandSettings(run=("/bin/true",)), tmp_path / "flowpi.sock", state)
    task = asyncio.create_task(one.run())
    await until(lambda: one._feed is not None)
    yield one
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    state.close()


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
