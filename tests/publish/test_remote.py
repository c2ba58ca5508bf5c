"""What the daemon knows of a sink that is a process of its own, from its reports, and what it keeps for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from flowpi.config.command import CommandSettings
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.core import topics
from flowpi.publish import publisher
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub
from flowpi.publish.messages import GivenUp, ParkedText, Problem, SinkPayload, SinkReport, TextId
from flowpi.publish.publisher import Publisher
from flowpi.publish.remote import RemoteSink
from tests.publish.test_files import DAY_S, NOON, final
from tests.waiting import ticks, until

BEFORE_ALL = TextId("0" * 26, 0)


def configured(*filters: str) -> Config:
    settings = CommandSettings(run=("/bin/true",), filters=filters or ("transcript/final",))
    return Config(publish=PublishSettings(command=settings))


class Daemon:
    """Transcripts and a publisher, one run after the other."""

    def __init__(self, directory: Path) -> None:
        self.positions = directory / "sinks"
        self.transcripts = Transcripts(directory / "transcripts", 30, max_lag_days=50)
        self.transcripts.open()
        self.hub = Hub()
        self.faults: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def run(self, config: Config | None = None) -> AsyncIterator[Publisher]:
        running = Publisher(
            config or configured(),
            self.hub,
            self.transcripts,
            self.positions,
            fault=self.faults.__setitem__,
            clear=lambda code: self.faults.pop(code, None),
        )
        await running.open()
        try:
            yield running
        finally:
            await running.close()

    async def say(self, *numbers: int, days: float = 0) -> None:
        for number in numbers:
            await self.transcripts.append(final(number), NOON + days * DAY_S)

    async def expire(self, days: float) -> list[str]:
        """Delete what is too old so many days later, and return the days that are left."""
        for uptime_days in (days * 10, days * 10 + 1):
            await asyncio.to_thread(self.transcripts.expire, NOON + days * DAY_S, uptime_days * DAY_S + 1e9)
        return self.transcripts.names()


@pytest.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    monkeypatch.setattr(publisher, "NEWS_S", 0.0)
    one = Daemon(tmp_path)
    yield one
    one.transcripts.close()


def command(running: Publisher) -> RemoteSink:
    sink = running.remote("command")
    assert sink is not None
    return sink


def text_id(number: int) -> TextId:
    return TextId(final(number).id, 1)


async def report(running: Publisher, last: int | TextId | None = None, **members: Any) -> Problem | None:
    text = text_id(last) if isinstance(last, int) else last
    return await command(running).report(SinkReport("command", members.pop("state", "open"), text, **members))


async def shown(running: Publisher) -> SinkPayload:
    (one,) = await running.sinks()
    return one


async def waiting(running: Publisher) -> int:
    return (await shown(running)).waiting


class TestPosition:
    async def test_it_follows_the_reports_over_a_restart(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2, 3)
            assert await waiting(running) == 3
            assert await report(running, 1) is None
            assert ((await shown(running)).last, await waiting(running)) == (text_id(1), 2)
        async with daemon.run() as running:
            assert ((await shown(running)).last, await waiting(running)) == (text_id(1), 2)
            assert await report(running, 3) is None
            assert ((await shown(running)).last, await waiting(running)) == (text_id(3), 0)
            await daemon.say(4)
            assert await waiting(running) == 1

    async def test_one_report_for_texts_of_several_days(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            await daemon.say(3, 4, days=1)
            await daemon.say(5, 6, days=2)
            await report(running, 5)
            assert await waiting(running) == 1
        async with daemon.run() as running:
            assert await waiting(running) == 1

    @pytest.mark.parametrize("number", [3, 9], ids=["between", "future"])
    async def test_a_text_that_never_was_moves_nothing(self, daemon: Daemon, number: int) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2, 4)
            await report(running, 1)
            problem = await report(running, number, state="failing", error="it broke")
            assert problem == Problem("no_such_text", f"there is no text {final(number).id}, part 1")
            assert ((await shown(running)).last, await waiting(running)) == (text_id(1), 2)
            assert (await shown(running)).state == "open"
            assert daemon.faults == {}

    async def test_what_a_profile_keeps_from_the_process_does_not_wait_for_it(self, daemon: Daemon) -> None:
        config = structs.replace(configured(), profiles={"private": ProfileSettings(sinks=())})
        async with daemon.run(config) as running:
            await daemon.transcripts.append(structs.replace(final(1), profile="private"), NOON)
            await daemon.say(2)
            assert await waiting(running) == 1
            await report(running, 1)
            assert await waiting(running) == 1
            await running.apply(configured())
            await daemon.transcripts.append(structs.replace(final(3), profile="private"), NOON)
            assert await waiting(running) == 2

    async def test_of_two_daemons_one_has_the_positions(self, daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
        await daemon.say(1)
        other = Daemon(daemon.positions.parent / "other")
        other.positions = daemon.positions
        try:
            async with daemon.run():
                path = daemon.positions / "command.position"
                before = path.read_bytes()
                path.unlink()
                async with other.run() as running:
                    assert "sink.command: another flowpi has the positions in " in caplog.text
                    problem = await report(running, BEFORE_ALL)
                    assert problem is not None
                    assert problem.code == "transcripts"
                assert not path.exists()
            async with other.run():
                assert path.read_bytes() != before
        finally:
            other.transcripts.close()

    async def test_a_report_that_comes_after_the_end_takes_the_positions_from_nobody(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1)
            sink = command(running)
        assert await sink.report(SinkReport("command", "open", text_id(1))) is None
        assert await sink.wait() == "report"
        async with daemon.run() as running:
            assert await waiting(running) == 1
            assert await report(running, 1) is None

    async def test_an_id_that_is_none_is_refused(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            problem = await report(running, TextId("../../etc", 1))
            assert problem == Problem("bad_request", "report.last is the id and the part of a text")

    async def test_the_same_text_again_changes_nothing(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2, 3)
            await report(running, 2)
            before = (daemon.positions / "command.position").stat().st_ino
            await report(running, 2)
            assert (daemon.positions / "command.position").stat().st_ino == before

    async def test_after_the_clock_was_set_back_it_passes_over_nothing(self, daemon: Daemon) -> None:
        """The process has the texts of the later day in its queue, and then those of the earlier one."""
        async with daemon.run() as running:
            await daemon.say(1)
            await daemon.say(2, 3, days=1)
            await report(running, 1)
            await daemon.say(4, 5)
            await report(running, 2)
            assert await waiting(running) == 3
            await report(running, 4)  # nothing of the later day comes back, or is passed over
            assert await waiting(running) == 2
            await daemon.say(6, days=2)
            await report(running, 6)
            assert await waiting(running) == 0

    async def test_it_goes_back_to_a_process_that_was_restored_from_a_copy(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            await daemon.say(3, days=1)
            await report(running, 3)
            assert await waiting(running) == 0
            await report(running, 1)
            assert ((await shown(running)).last, await waiting(running)) == (text_id(1), 2)

    @pytest.mark.parametrize(("last", "left"), [(BEFORE_ALL, 2), (text_id(1), 1), (text_id(2), 0)])
    async def test_at_the_first_start_the_position_of_the_process_counts(
        self, daemon: Daemon, last: TextId, left: int
    ) -> None:
        """It may have begun before the daemon was told of it, and after that too."""
        await daemon.say(1, 2)
        async with daemon.run() as running:
            assert await waiting(running) == 0
            await report(running, last)
            assert await waiting(running) == left

    async def test_a_text_whose_day_has_expired_is_no_mistake(self, daemon: Daemon) -> None:
        await daemon.say(1)
        await daemon.say(2, days=40)
        assert await daemon.expire(41) == ["2023-12-24.jsonl"]
        async with daemon.run() as running:
            assert await report(running, 1) is None
            assert ((await shown(running)).last, await waiting(running)) == (None, 1)

    async def test_a_disk_that_accepts_nothing_is_told_and_nothing_has_moved(
        self, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            with monkeypatch.context() as disk:
                disk.setattr("flowpi.host.durable_file.replace_file", full)
                problem = await report(running, 2)
            assert problem is not None
            assert (problem.code, await waiting(running)) == ("transcripts", 2)
            assert "No space left on device" in problem.message
            assert await report(running, 2) is None
            assert await waiting(running) == 0


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


class TestKept:
    async def test_what_it_has_to_take_is_kept_and_counted_when_it_expires(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2)
            await daemon.say(3, days=1)
            await report(running, 1)
            assert await daemon.expire(40) == ["2023-11-14.jsonl", "2023-11-15.jsonl"]
            await report(running, 2)
            assert await daemon.expire(41) == ["2023-11-15.jsonl"]
            assert await daemon.expire(60) == []
            await until(lambda: "undelivered.command" in daemon.faults)
            assert "(1 expired before the sink command had them)" in daemon.faults["undelivered.command"]
            assert ((await shown(running)).missed, await waiting(running)) == (1, 0)

    async def test_also_before_it_reports(self, daemon: Daemon) -> None:
        async with daemon.run():
            await daemon.say(1)
        async with daemon.run():
            assert await daemon.expire(40) == ["2023-11-14.jsonl"]

    @pytest.mark.parametrize("config", [Config(), configured("event/#")], ids=["none", "no_texts"])
    async def test_for_one_that_takes_none_nothing_is_kept(self, daemon: Daemon, config: Config) -> None:
        async with daemon.run(config) as running:
            await daemon.say(1)
            assert await daemon.expire(40) == []
            assert [one.waiting for one in await running.sinks()] == ([] if config == Config() else [0])

    async def test_what_it_gave_up_is_kept_shown_and_a_fault(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1, 2, 3)
            given_up = [GivenUp(final(1).id, 1, "ended with\x1b exit code 1"), GivenUp(final(2).id, 1)]
            await report(running, 3, parked=[*given_up, GivenUp(final(9).id, 1, "never was")])
            told = [ParkedText("command", final(1).id, 1, "ended with  exit code 1")]
            told += [ParkedText("command", final(2).id, 1, "")]
            assert running.parked(["command"]) == told
            assert "(2 refused by the sink command)" in daemon.faults["undelivered.command"]
        daemon.faults.clear()
        async with daemon.run() as running:
            assert running.parked(["command"]) == told
            assert list(daemon.faults) == ["undelivered.command"]
            assert await daemon.expire(40) == ["2023-11-14.jsonl"]
            await report(running, 3, parked=[given_up[1]])
            assert (await shown(running)).parked == 1
            await report(running, 3)
            assert daemon.faults == {}
            assert await daemon.expire(41) == []


class TestShown:
    async def test_its_state_and_error(self, daemon: Daemon) -> None:
        at = "2026-11-29T12:00:00.000Z"
        async with daemon.run() as running:
            assert (await shown(running)).state == "opening"
            await daemon.say(1)
            await report(running, state="failing", error="it\x1bended", error_at=at)
            one = await shown(running)
            assert (one.state, one.error, one.error_at) == ("failing", "it ended", at)
            assert daemon.faults == {"sink.command": "it ended"}
            await report(running, 1, error="it\x1bended", error_at=at)
            one = await shown(running)
            assert (one.state, one.error, one.error_at) == ("open", "it ended", at)
            assert daemon.faults == {}

    async def test_the_topic_follows(self, daemon: Daemon) -> None:
        seen: list[Any] = []
        daemon.hub.subscribe([topics.SINKS], lambda message, retained: seen.append(message.payload[0]))
        async with daemon.run() as running:
            await until(lambda: seen and seen[-1].state == "opening")
            await report(running, state="failing", error="it ended")
            await until(lambda: seen[-1].state == "failing")

    async def test_a_reload_takes_it_away_and_brings_it_back(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await daemon.say(1)
            await report(running, state="failing", error="it ended")
            asked = asyncio.create_task(command(running).wait())
            await ticks()
            await running.apply(Config())
            assert await asked == "report"
            assert (running.names, daemon.faults, await running.sinks()) == ([], {}, [])
            assert await daemon.expire(40) == []
            await running.apply(configured())
            assert running.names == ["command"]
            sink = command(running)
            await running.apply(configured())
            assert command(running) is sink
            await running.apply(configured("event/#"))
            assert await waiting(running) == 0

    async def test_its_fault_stands_over_a_reload_until_it_reports(self, daemon: Daemon) -> None:
        async with daemon.run() as running:
            await report(running, state="failing", error="it ended")
            await running.apply(configured("event/#"))
            assert daemon.faults == {"sink.command": "it ended"}
            await report(running)
            assert daemon.faults == {}
