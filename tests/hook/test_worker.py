"""The order, the tries and the position of the hook, with a daemon and a program that a test determines."""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.command import CommandSettings
from flowpi.core.errors import AlreadyRunning
from flowpi.hook import command, state, worker
from flowpi.hook.command import Outcome
from flowpi.hook.state import HookState
from flowpi.hook.worker import Hook
from flowpi.host.logfields import MessageId
from flowpi.peer.feed import BEFORE_ALL
from flowpi.peer.standing import Standing
from flowpi.publish import parked
from flowpi.publish.messages import TextId
from tests.hook.scripted_daemon import ScriptedDaemon, payload
from tests.waiting import ticks, until

Answer = Outcome | int


class Harness:
    """A hook whose program is `outcomes`: how each run ends; done, behind the last. Waits last until `wait_over`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.daemon = ScriptedDaemon(directory / "socket")
        self.outcomes: list[Answer] = []
        self.runs: list[int] = []
        self.given: list[tuple[bytes, dict[str, str]]] = []
        self.waits: list[float] = []
        self.chance = 1.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.filters: tuple[str, ...] = ("transcript/final",)
        self.passed_over: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.state = HookState(self.directory / "state")
        self.standing = Standing()
        settings = CommandSettings(run=("/bin/true",), filters=self.filters)
        self.hook = Hook(
            settings,
            self.daemon.path,
            self.state,
            self.standing,
            passed_over=self.passed_over,
            chance=lambda: self.chance,
        )
        self._task = asyncio.create_task(self.hook.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
            self.state.close()

    async def run(self, argv: Any, line: bytes, about: dict[str, str], timeout_s: float) -> Outcome:
        self.given.append((line, about))
        self.runs.append(int(about["FLOWPI_ID"] or 0))
        await self.gate.wait()
        answer = self.outcomes.pop(0) if self.outcomes else 0
        return answer if isinstance(answer, Outcome) else Outcome(answer)

    @property
    def position(self) -> int:
        return int(json.loads((self.directory / "state/command.position").read_text())["id"])

    async def passed(self, number: int) -> None:
        await until(lambda: self.state.position is not None and int(self.state.position.id) == number)
        assert self.position == number

    def refused(self) -> list[int]:
        return [int(one.id) for one in self.state.refused.texts]


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    one = Harness(tmp_path)
    monkeypatch.setattr(command, "run", one.run)
    pause = Hook._pause

    async def short(self: Hook, wait_s: float) -> None:
        one.waits.append(wait_s)
        await pause(self, 0.001)

    monkeypatch.setattr(Hook, "_pause", short)
    await one.daemon.start()
    yield one
    await one.stop()
    await one.daemon.crash()


@pytest.fixture
def long_waits(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each wait last until something ends it."""
    monkeypatch.undo()
    monkeypatch.setattr(command, "run", harness.run)
    monkeypatch.setattr(worker, "FIRST_WAIT_S", 1000.0)


async def test_the_first_start_begins_with_the_next_text(harness: Harness) -> None:
    harness.daemon.say(1, 2)
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    assert harness.position == 2
    harness.daemon.say(3)
    await harness.passed(3)
    assert harness.runs == [3]


@pytest.mark.parametrize(
    ("sink", "runs"),
    [
        ({"last": {"id": f"{2:026}", "part": 1}, "waiting": 2}, [3, 4]),
        ({"last": None, "waiting": 4}, [1, 2, 3, 4]),
        ({"last": None, "waiting": 0}, []),
    ],
    ids=["behind_its_last", "behind_none", "nothing_waits"],
)
async def test_the_first_start_begins_where_the_daemon_keeps_texts_for_it(
    harness: Harness, sink: dict[str, Any], runs: list[int]
) -> None:
    harness.daemon.say(1, 2, 3, 4)
    harness.daemon.sink = {"name": "command", **sink}
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(5)
    await harness.passed(5)
    assert harness.runs == [*runs, 5]
    assert {"command": "sinks", "action": "list", "sinks": ["command"], "request": 1} in harness.daemon.asked


async def test_where_there_is_no_text_yet_all_that_come_count(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    assert harness.state.position == BEFORE_ALL
    await harness.stop()
    harness.daemon.say(1)
    harness.start()
    await harness.passed(1)
    assert harness.runs == [1]


async def test_what_it_is_given(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(7, part=2, late=True)
    await harness.passed(7)
    ((line, about),) = harness.given
    assert json.loads(line) == {"topic": "transcript/final", "payload": payload(7, part=2, late=True)}
    assert line.endswith(b"\n")
    assert about == {
        "FLOWPI_TOPIC": "transcript/final",
        "FLOWPI_ID": f"{7:026}",
        "FLOWPI_PART": "2",
        "FLOWPI_LATE": "true",
        "FLOWPI_PROFILE": "",
    }


async def test_what_a_profile_keeps_from_the_command_is_done_with_at_once(harness: Harness) -> None:
    harness.passed_over = frozenset({"private"})
    harness.filters = ("transcript/#", "state")
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, profile="private")
    harness.daemon.say(2, profile="german")
    await harness.passed(2)
    harness.daemon.say(3, profile="private")
    await harness.passed(3)
    assert harness.runs == [2]
    assert harness.given[0][1]["FLOWPI_PROFILE"] == "german"


async def test_what_was_given_up_and_is_kept_from_the_command_now_is_not_tried_again(harness: Harness) -> None:
    harness.outcomes = [1, 1, 1]
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, profile="private")
    await until(lambda: harness.refused() == [1])
    await harness.stop()
    harness.passed_over = frozenset({"private"})
    harness.start()
    harness.hook.retry()
    await until(lambda: harness.refused() == [])
    assert harness.runs == [1, 1, 1]


async def test_the_position_is_kept_before_the_next_text_and_a_restart_goes_on_there(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, 2)
    await harness.passed(2)
    harness.gate.clear()
    harness.daemon.say(3, 4)
    await until(lambda: harness.runs[-1] == 3)
    assert harness.position == 2
    await harness.stop()
    harness.gate.set()
    harness.start()
    await harness.passed(4)
    assert harness.runs == [1, 2, 3, 3, 4]


async def test_a_text_that_comes_again_is_not_run_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after the clock was set back. Of the texts before the last ones that is not known."""
    monkeypatch.setattr(state, "REMEMBERED", 2)
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, 2, 3)
    await harness.passed(3)
    await harness.stop()
    harness.daemon.drop()
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    for number in (2, 3, 1):
        harness.daemon.publish("transcript/final", payload(number))
    await harness.passed(1)
    assert harness.runs == [1, 2, 3, 1]


@pytest.mark.parametrize("chance", [1.0, 0.0])
async def test_75_is_tried_again_with_growing_waits_and_keeps_the_order(harness: Harness, chance: float) -> None:
    harness.chance = chance
    harness.outcomes = [75] * 12
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, 2)
    await harness.passed(2)
    assert harness.runs == [1] * 13 + [2]
    whole = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert harness.waits == [wait_s * (0.5 + 0.5 * chance) for wait_s in whole]
    assert harness.refused() == []


@pytest.mark.parametrize("failure", [1, 126, -15, Outcome(None, timed_out=True), Outcome(-9, timed_out=True)])
async def test_anything_else_is_given_up_after_three_tries(harness: Harness, failure: Answer) -> None:
    harness.outcomes = [failure, failure, failure]
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1, 2)
    await harness.passed(2)
    assert harness.runs == [1, 1, 1, 2]
    assert harness.waits == [1, 2]
    assert harness.refused() == [1]
    await harness.stop()
    harness.start()
    assert harness.refused() == [1]


async def test_that_it_cannot_be_started_is_no_fault_of_a_text(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.outcomes = [Outcome(None, "permission denied")] * 5
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1)
    await harness.passed(1)
    assert (harness.runs, harness.refused()) == ([1] * 6, [])
    assert "cannot be started (permission denied): `systemctl edit flowpi-hook`" in caplog.text


async def test_a_daemon_that_goes_away_costs_nothing(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1)
    await harness.passed(1)
    await harness.daemon.crash()
    harness.daemon.say(2, 3)
    await until(lambda: len(harness.waits) > 8)
    assert harness.waits[:7] == [1, 2, 4, 8, 16, 30, 30]
    await harness.daemon.start()
    await harness.passed(3)
    harness.daemon.drop()
    harness.daemon.say(4)
    await harness.passed(4)
    assert harness.runs == [1, 2, 3, 4]


@pytest.mark.usefixtures("long_waits")
async def test_retry_tries_now_and_what_was_given_up_before_the_next_text(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    await harness.state.refuse(TextId(f"{1:026}", 1), "ended with exit code 1")
    await harness.state.refuse(TextId(f"{2:026}", 1), "ended with exit code 1")
    await harness.state.refuse(TextId(f"{3:026}", 1), "ended with exit code 1")
    harness.daemon.texts[:0] = [payload(1), payload(3)]  # the second one has expired
    harness.outcomes = [75, 0, 4]
    harness.daemon.say(5)
    await until(lambda: harness.hook._blocked)
    assert harness.runs == [5]
    harness.hook.retry()
    await harness.passed(5)
    await until(lambda: len(harness.runs) == 4)
    await until(lambda: harness.daemon.subscribed)
    assert harness.runs == [5, 5, 1, 3]
    assert [(int(one.id), one.reason) for one in harness.state.refused.texts] in (
        [(1, "ended with exit code 4"), (3, "ended with exit code 1")],
        [(1, "ended with exit code 4")],
    )
    await until(lambda: harness.refused() == [1])
    assert caplog.text.count("a text that was given up is not in the transcripts any more") == 1


async def test_a_retry_that_the_end_of_the_daemon_cut_off_goes_on(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    for number in (1, 2):
        await harness.state.refuse(TextId(f"{number:026}", 1), "why")
    harness.daemon.texts[:0] = [payload(1), payload(2)]
    harness.gate.clear()
    harness.hook.retry()
    await until(lambda: harness.runs == [1])
    harness.daemon.drop()
    harness.gate.set()
    await until(lambda: harness.refused() == [])
    assert harness.runs == [1, 2]


@pytest.mark.usefixtures("long_waits")
async def test_skip_gives_up_the_text_that_waits_and_then_forgets_what_was_given_up(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.outcomes = [75]
    harness.daemon.say(1, 2)
    await until(lambda: harness.hook._blocked)
    harness.hook.skip()
    await harness.passed(2)
    assert harness.runs == [1, 2]
    assert [(int(one.id), one.reason) for one in harness.state.refused.texts] == [(1, worker.SKIPPED)]
    await until(lambda: harness.hook._feed is not None)
    harness.hook.skip()
    await until(lambda: harness.refused() == [])


async def test_a_skip_that_came_too_late_skips_nothing(harness: Harness) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    await harness.state.refuse(TextId(f"{1:026}", 1), "why")
    harness.gate.clear()
    harness.daemon.say(2)
    await until(lambda: harness.runs)
    harness.hook.skip()
    harness.gate.set()
    await harness.passed(2)
    harness.daemon.say(3)
    await harness.passed(3)
    assert harness.refused() == [1]


@pytest.mark.usefixtures("long_waits")
async def test_a_disk_that_accepts_nothing_stops_it_and_the_text_is_not_run_again(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)

    def full(*arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as disk:
        disk.setattr("flowpi.host.durable_file.replace_file", full)
        harness.daemon.say(1, 2)
        await until(lambda: harness.hook._blocked)
        assert harness.runs == [1]
    harness.hook.retry()
    await harness.passed(2)
    assert harness.runs == [1, 2]


@pytest.mark.usefixtures("long_waits")
async def test_so_many_are_given_up_and_then_it_waits_for_somebody(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "MOST", 1)
    monkeypatch.setattr(worker, "TRIES", 1)
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.outcomes = [1, 1]
    harness.daemon.say(1, 2, 3)
    await until(lambda: harness.hook._blocked)
    assert (harness.position, harness.refused()) == (1, [1])
    harness.hook.skip()
    await harness.passed(3)
    assert harness.refused() == [2]


async def test_other_messages_are_run_once(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.filters = ("event/#",)
    harness.outcomes = [75]
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    assert harness.daemon.asked == [{"subscribe": ["event/#"]}]
    harness.daemon.publish("event/button", {"kind": "tap"})
    harness.daemon.publish("event/button", {"kind": "hold"})
    await until(lambda: len(harness.given) == 2)
    await ticks()
    assert [json.loads(line)["payload"]["kind"] for line, _ in harness.given] == ["tap", "hold"]
    assert harness.given[0][1]["FLOWPI_ID"] == ""
    assert "event/button: the command ended with exit code 75" in caplog.text
    assert harness.waits == []


async def test_its_output_is_in_the_log_without_what_a_terminal_acts_on(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    harness.outcomes = [Outcome(0, output=b"one\x1b[2J\n\n\xfftwo\n" + b"a" * 20_000, more=5)]
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1)
    await harness.passed(1)
    said = [one.getMessage() for one in caplog.records if "said" in one.getMessage()]
    assert said[0].startswith("the command said: one [2J\n\ufffdtwo\naaa")
    assert sum(one.count("a") for one in said[:2]) - 2 * "the command said".count("a") == 20_000
    assert said[2:] == ["the command said 5 bytes more"]
    assert "It was text" not in caplog.text


async def test_a_second_one_is_refused(harness: Harness) -> None:
    harness.start()
    with pytest.raises(AlreadyRunning, match="another `flowpi hook` runs already"):
        HookState(harness.directory / "state")
    await harness.stop()
    HookState(harness.directory / "state").close()


@pytest.mark.parametrize("content", [b"", b'{"id": "nonsense", "part": 1}', b'{"id":', b"\xff"])
async def test_a_damaged_position_begins_with_the_next_text(
    harness: Harness, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (harness.directory / "state").mkdir()
    (harness.directory / "state/command.position").write_bytes(content)
    harness.daemon.say(1)
    harness.start()
    await harness.passed(1)
    assert "is damaged" in caplog.text


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What happened that a program can wait for."""
    names = {one.value: one.name for one in MessageId}
    journal = [getattr(one, "journal", {}) for one in caplog.records]
    return [names[one["MESSAGE_ID"]] for one in journal if "MESSAGE_ID" in one]


async def test_what_the_operator_must_act_on_has_an_id(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    harness.outcomes = [Outcome(None, "permission denied"), 1, 1, 1]
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    harness.daemon.say(1)
    await harness.passed(1)
    assert events(caplog) == ["COMMAND_NOT_STARTED", "COMMAND_GAVE_UP"]


async def test_a_daemon_that_stays_away_is_an_event_once(
    harness: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.start()
    await until(lambda: harness.daemon.subscribed)
    await harness.daemon.crash()
    await until(lambda: len(harness.waits) > 8)  # as while it is started anew
    assert events(caplog) == []
    await harness.daemon.start()
    await until(lambda: harness.daemon.subscribed)
    await until(lambda: harness.hook._alarm is None)
    monkeypatch.setattr(worker, "ABSENT_S", 0.01)
    await harness.daemon.crash()
    await until(lambda: events(caplog))
    waits = len(harness.waits)
    await until(lambda: len(harness.waits) > waits + 20)
    assert events(caplog) == ["DAEMON_ABSENT"]


async def test_it_notes_how_it_is(harness: Harness) -> None:
    harness.outcomes = [75]
    harness.start()
    standing = harness.standing
    await until(lambda: harness.daemon.subscribed)
    assert (standing.failing, standing.error, standing.news.is_set()) == (False, None, True)
    standing.news.clear()
    harness.gate.clear()
    harness.daemon.say(1)
    await until(lambda: harness.runs)
    assert not standing.news.is_set()  # the text is not done with
    harness.gate.set()
    await until(lambda: len(harness.runs) == 2)
    assert (standing.error, standing.news.is_set()) == ("the command ended with exit code 75", True)
    await harness.passed(1)
    await until(lambda: not standing.failing)
    assert standing.error == "the command ended with exit code 75"
