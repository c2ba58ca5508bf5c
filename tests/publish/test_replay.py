"""`after` on the socket: the final texts behind a given one, from the transcripts first and then as they come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.core import topics
from flowpi.publish import history as history_module
from flowpi.publish import log_search
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.hub import Hub
from flowpi.publish.messages import Problem, Request
from flowpi.publish.socket import LocalSocket
from flowpi.publish.socket_client import MAX_QUEUE_BYTES
from tests.publish.test_files import DAY_S, NOON, fails, final, unreadable
from tests.publish.test_socket import Client, pause, resume
from tests.waiting import ticks, until


class ReplayHarness:
    """Transcripts, and a socket that replays them. `kill` and `start` are another run of the daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reads = 0
        self._clients: list[Client] = []
        self._connecting = asyncio.Lock()

    async def start(self) -> None:
        self.transcripts = Transcripts(self.directory / "transcripts", 30)
        self.transcripts.open()
        self.hub = Hub()
        self.history = History(self.transcripts)
        real = self.history.read

        async def read(*arguments: Any) -> Any:
            self.reads += 1
            return await real(*arguments)

        setattr(self.history, "read", read)  # noqa: B010 (a lever of this test)
        path = self.directory / "flowpi.sock"
        self.socket = LocalSocket(
            self.hub,
            self._command,
            path=path,
            group=None,
            device_id="desk",
            refused="nobody-here",
            history=self.history,
        )
        await self.socket.open()

    async def kill(self) -> None:
        # Not while somebody connects: asyncio leaves what it accepted while its server was closed to the garbage
        # collector, and only a process that ends closes it.
        async with self._connecting:
            await self.socket.close()
        for client in self._clients:
            client.writer.close()
            with contextlib.suppress(OSError):
                await client.writer.wait_closed()
        self._clients.clear()
        await until(lambda: not self.socket.clients)
        self.transcripts.close()

    async def _command(self, request: Request, user: int | None) -> dict[str, Any] | Problem:
        return Problem("unknown_command", "no")

    async def say(self, *numbers: int, days: float = 0, text: str = "It was the best.") -> None:
        """Publish texts and append them, in the order of the daemon."""
        for number in numbers:
            one = final(number, text)
            self.hub.publish(topics.FINAL, one)
            await self.transcripts.append(one, NOON + days * DAY_S)

    async def connect(self) -> Client:
        async with self._connecting:
            self._clients.append(await Client.connect(self.directory / "flowpi.sock"))
            return self._clients[-1]

    async def replay(self, after: int, *filters: str) -> Client:
        client = await self.connect()
        client.send({"subscribe": list(filters or ["transcript/final"]), "after": {"id": final(after).id, "part": 1}})
        assert "subscribed" in await client.read()
        return client


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ReplayHarness]:
    harness = ReplayHarness(tmp_path)
    await harness.start()
    yield harness
    await harness.kill()


def number_of(message: Any) -> int:
    assert message["topic"] == "transcript/final"
    return int(message["payload"]["id"][-6:])


async def numbers(client: Client, count: int) -> list[int]:
    return [number_of(await client.read()) for _ in range(count)]


async def test_first_from_the_files_then_live(harness: ReplayHarness) -> None:
    await harness.say(1, 2, 3)
    await harness.say(4, days=1)
    client = await harness.replay(2)
    assert await numbers(client, 2) == [3, 4]
    await harness.say(5, days=1)
    await harness.say(6, days=2)
    assert await numbers(client, 2) == [5, 6]
    live = await harness.connect()
    await live.subscribe("transcript/final")
    await harness.say(7, days=2)
    assert await client.read_line() == await live.read_line()  # the same bytes


async def test_what_else_it_subscribed_to_comes_as_always(harness: ReplayHarness) -> None:
    harness.hub.publish("state", {"state": "idle"})
    client = await harness.replay(0, "#")
    assert await client.read() == {"topic": "state", "payload": {"state": "idle"}, "retained": True}
    await harness.say(1)
    assert number_of(await client.read()) == 1
    harness.hub.publish("transcript/partial", {"text": "It"})
    assert (await client.read())["topic"] == "transcript/partial"


async def test_parts_are_texts_of_their_own(harness: ReplayHarness) -> None:
    for part in (1, 2, 3):
        await harness.transcripts.append(final(1, part=part), NOON)
    client = await harness.connect()
    client.send({"subscribe": ["#"], "after": {"id": final(1).id, "part": 2}})
    await client.read()
    assert (await client.read())["payload"]["part"] == 3


@pytest.mark.parametrize("piece_bytes", [1, 1 << 18])
async def test_behind_a_text_that_is_not_there(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    """It begins at the first text that was begun later, and those that follow it may have been begun before."""
    monkeypatch.setattr(log_search, "PIECE_BYTES", piece_bytes)
    await harness.say(10, 40, 20)
    await harness.say(60, days=1)
    assert await numbers(await harness.replay(30), 3) == [40, 20, 60]
    assert await numbers(await harness.replay(5), 4) == [10, 40, 20, 60]
    assert await numbers(await harness.replay(50), 1) == [60]
    assert await numbers(await harness.replay(40), 2) == [20, 60]
    none = await harness.replay(70)
    await until(lambda: len(harness.history._listeners) == 5)
    await harness.say(65, days=1)
    assert await numbers(none, 1) == [65]


async def test_what_a_clock_set_back_dated_comes_too(harness: ReplayHarness) -> None:
    await harness.say(1)
    await harness.say(2, days=2)
    client = await harness.replay(2)
    await harness.say(3, days=1)
    await harness.say(4, days=0)
    assert sorted(await numbers(client, 2)) == [3, 4]  # of several at once, those in the older file come first


@pytest.mark.parametrize("piece_bytes", [1, 1 << 18])
async def test_what_a_clock_set_back_dated_while_the_client_was_away_comes_too(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(log_search, "PIECE_BYTES", piece_bytes)
    await harness.say(1)
    await harness.say(2, 4, days=2)
    await harness.say(3, 5, days=1)
    await harness.say(6, 7, days=0)
    client = await harness.replay(4)
    assert await numbers(client, 3) == [6, 7, 5]
    await harness.say(8, days=0)
    assert await numbers(client, 1) == [8]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            {"subscribe": ["state"], "after": {"id": final(1).id, "part": 1}},
            "after needs a filter for transcript/final",
        ),
        ({"subscribe": ["#"], "after": {"id": "yesterday", "part": 1}}, "after is the id and the part of a text"),
        ({"subscribe": ["#"], "after": final(1).id}, "after is the id and the part of a text"),
    ],
)
async def test_what_is_wrong_is_said(harness: ReplayHarness, request_: Any, message: str) -> None:
    client = await harness.connect()
    assert await client.ask(request_) == {"error": {"code": "bad_request", "message": message}}
    await harness.say(1)
    assert (await client.ask({"subscribe": ["#"]})) == {"subscribed": ["#"]}  # nothing was subscribed before


async def test_a_second_after_is_refused(harness: ReplayHarness) -> None:
    client = await harness.replay(1)
    answer = await client.ask({"subscribe": ["#"], "after": {"id": final(1).id, "part": 1}})
    assert answer["error"]["message"] == "after was said before: connect again"


async def test_files_that_cannot_be_read_end_the_connection_with_a_reason(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.say(1)
    waiting = await harness.replay(1)
    await until(lambda: harness.history._listeners)
    monkeypatch.setattr("flowpi.publish.log_search.opened", fails)
    monkeypatch.setattr("flowpi.publish.log_reader.opened", fails)
    for client in (await harness.replay(0), waiting):
        if client is waiting:
            await harness.say(2)
        error = (await client.read())["error"]
        assert error["code"] == "transcripts"
        assert "Input/output error" in error["message"]
        assert not await client.read_line()


async def test_an_old_file_that_cannot_be_read_stops_no_replay(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.say(1, 2)
    await harness.say(3, days=1)
    first = await harness.replay(1)
    assert await numbers(first, 2) == [2, 3]
    await until(lambda: len(harness.history._listeners) == 1)
    with unreadable(monkeypatch, "2023-11-14.jsonl"):
        second, third = await harness.replay(0), await harness.replay(3)
        assert await numbers(second, 1) == [3]
        await until(lambda: len(harness.history._listeners) == 3)
        await harness.say(4, days=1)
        for client in (first, second, third):
            assert await numbers(client, 1) == [4]
    assert caplog.text.count("2023-11-14.jsonl is passed over") == 1


class TestASlowReader:
    async def test_it_is_not_dropped_and_nothing_of_it_is_in_memory(self, harness: ReplayHarness) -> None:
        count = 200
        await harness.say(*range(1, count + 1), text="word " * 2000)
        assert count * 10_000 > 4 * MAX_QUEUE_BYTES
        client = await harness.replay(0)
        pause(client)
        before = -1
        while before != harness.reads:  # until nothing moves any more
            before = harness.reads
            for _ in range(50):
                await asyncio.to_thread(lambda: None)
        assert harness.reads < count / 4
        other = await harness.replay(count - 1)
        assert await numbers(other, 1) == [count]
        await harness.say(count + 1)
        assert await numbers(other, 1) == [count + 1]
        resume(client)
        assert await numbers(client, count + 1) == list(range(1, count + 2))

    async def test_one_that_leaves_costs_nothing_more(self, harness: ReplayHarness) -> None:
        await harness.say(*range(1, 100), text="word " * 2000)
        client = await harness.replay(0)
        pause(client)
        tasks = asyncio.all_tasks()
        client.writer.transport.abort()
        await until(lambda: not harness.socket.clients)
        await until(lambda: not [task for task in tasks if task.get_name() == "replay" and not task.done()])
        live = await harness.replay(99)
        await until(lambda: harness.history._listeners)
        live.writer.transport.abort()
        await until(lambda: not harness.history._listeners)
        before = harness.reads
        await harness.say(100)
        await ticks()
        assert harness.reads == before


async def test_a_crowd_that_has_all_costs_one_read_for_each_text(harness: ReplayHarness) -> None:
    await harness.say(1)
    crowd = [await harness.replay(1) for _ in range(50)]
    await until(lambda: len(harness.history._listeners) == 50)
    await harness.history.catch_up()
    before = harness.reads
    await harness.say(2)
    for client in crowd:
        assert await numbers(client, 1) == [2]
    assert harness.reads - before <= 2


async def test_a_text_waits_for_one_piece_however_many_read(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads the files is asked for one after the other, so the thread that writes has no queue of it."""
    monkeypatch.setattr(history_module, "REPLAY_BYTES", 100)
    await harness.say(*range(1, 11))
    real, running, most = harness.transcripts.between_lines, 0, 0

    async def counted(job: Callable[[], Any]) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await real(job)
        finally:
            running -= 1

    monkeypatch.setattr(harness.transcripts, "between_lines", counted)
    crowd = [await harness.replay(0) for _ in range(30)]
    for client in crowd:
        assert await numbers(client, 10) == list(range(1, 11))
    assert most == 1


async def test_those_who_come_while_texts_are_appended_miss_none(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "REPLAY_BYTES", 1)
    await harness.say(*range(1, 11))

    async def come(after: int) -> list[int]:
        return await numbers(await harness.replay(after), 60 - after)

    coming = [asyncio.create_task(come(number)) for number in range(11)]
    for number in range(11, 61):
        await harness.say(number, days=number // 20)
        coming += [asyncio.create_task(come(number))] if number < 60 else []
    for after, result in enumerate(await asyncio.gather(*coming)):
        assert result == list(range(after + 1, 61))
