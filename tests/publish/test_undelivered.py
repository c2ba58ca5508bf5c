"""What the publisher shows of each sink, and what becomes of a text that a sink does not accept.

`test_sinks.py` has the contract of sinks; the tests here need one that only records.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.core import topics
from flowpi.host.folders import replace_file
from flowpi.host.logfields import MessageId
from flowpi.publish import feeder, lag, parked, publisher
from flowpi.publish.hub import Message
from flowpi.publish.messages import ParkedText, SinkPayload, TextId
from flowpi.publish.publisher import Publisher
from flowpi.publish.sinks import Sink
from flowpi.publish.text_feed import SKIPPED
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.publish.test_files import DAY_S, NOON, final, unreadable
from tests.waiting import PATIENCE_S, ticks, until


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(publisher, "NEWS_S", 0.0)
    harness = Harness(tmp_path)
    await harness.begin(Recording)
    yield harness
    harness.transcripts.close()


def text_id(number: int) -> TextId:
    return TextId(final(number).id, 1)


async def shown(running: Publisher) -> SinkPayload:
    (one,) = await running.sinks()
    return one


async def until_shown(running: Publisher, **members: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        now = await shown(running)
        while any(getattr(now, name) != value for name, value in members.items()):
            await ticks(1)
            now = await shown(running)


def entries(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """The fields of the entries with a MESSAGE_ID."""
    found = [getattr(record, "journal", {}) for record in caplog.records]
    return [one for one in found if "MESSAGE_ID" in one]


def parked_entry(number: int) -> dict[str, str]:
    about = {"UTTERANCE_ID": final(number).id, "PART": "1", "FAULT": "undelivered.sink"}
    return {"MESSAGE_ID": MessageId.TEXT_PARKED.value, **about}


class TestRefusedForGood:
    async def test_it_is_parked_and_the_next_follows(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {2}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2, 3)
            await until(lambda: sink.got == [1, 3])
            assert running.parked(["sink"]) == [ParkedText("sink", final(2).id, 1, "it is too long")]
            await until_shown(running, state="open", parked=1, waiting=0, last=text_id(3), error=None)
            assert harness.faults == {
                "undelivered.sink": "texts were not delivered (1 refused by the sink sink): see `flowpi sinks`"
            }
            assert sink.calls.count("open") == 1

    async def test_each_is_an_entry_of_the_journal(self, harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
        sink = Recording()
        sink.refuses_for_good, sink.fails_at = {1, 2}, {3}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2, 3, 4)
            await until(lambda: "sink.sink" in harness.faults)
            assert await running.skip(["sink"]) == 1
            await until(lambda: sink.got == [4])
        assert entries(caplog) == [parked_entry(number) for number in (1, 2, 3)]

    async def test_it_stays_parked_over_a_restart_until_it_is_written_again(self, harness: Harness) -> None:
        first, second = Recording(), Recording()
        first.refuses_for_good = {2}
        await harness.say(1, 2, 3)
        async with harness.run(sink=first):
            await until(lambda: first.got == [1, 3])
        harness.faults.clear()
        async with harness.run(sink=second) as running:
            await until(lambda: "undelivered.sink" in harness.faults)
            assert second.got == []
            running.retry(["sink"])
            await until(lambda: second.got == [2])
            await until(lambda: not harness.faults)
            assert running.parked(["sink"]) == []
            await harness.say(4)
            await until(lambda: second.got == [2, 4])

    async def test_refused_again_it_stays_where_it_is(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1, 2}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: len(running.parked(["sink"])) == 2)
            sink.refuses_for_good = {1}
            running.retry(["sink"])
            await until(lambda: sink.got == [2])
            await until(lambda: [one.id for one in running.parked(["sink"])] == [final(1).id])

    async def test_a_failure_ends_the_retry_and_the_next_texts_follow(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1, 2}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: len(running.parked(["sink"])) == 2)
            sink.refuses_for_good, sink.fails_at = set(), {1}
            running.retry(["sink"])
            await until(lambda: running.parked(["sink"])[0].reason == "it broke at this one")
            await harness.say(3)
            await until(lambda: sink.got == [3])
            await until(lambda: "sink.sink" not in harness.faults)
            assert [one.id for one in running.parked(["sink"])] == [final(1).id, final(2).id]
            sink.fails_at = set()
            running.retry(["sink"])
            await until(lambda: sink.got == [3, 1, 2])
            await until(lambda: not harness.faults)

    async def test_a_retry_that_fails_midway_says_how_many_are_left(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1, 2}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: "(2 refused by the sink sink)" in harness.faults.get("undelivered.sink", ""))
            sink.refuses_for_good, sink.fails_at = set(), {2}
            running.retry(["sink"])
            await until(lambda: "(1 refused by the sink sink)" in harness.faults["undelivered.sink"])
            assert sink.got == [1]

    async def test_skip_forgets_what_is_parked(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1, 2}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: len(running.parked(["sink"])) == 2)
            assert await running.skip(["sink"]) == 2
            assert (running.parked(["sink"]), harness.faults) == ([], {})
            assert await running.skip(["sink"]) == 0

    async def test_too_many_hold_the_next_one_back(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parked, "MOST", 2)
        sink = Recording()
        sink.refuses_for_good = {1, 2, 3}
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2, 3, 4)
            await until(lambda: "sink.sink" in harness.faults)
            assert harness.faults["sink.sink"] == "it has refused 2 texts for good: see `flowpi sinks`"
            assert sink.got == []
            sink.refuses_for_good = {1, 2}
            await until(lambda: sink.got == [3, 4])
            assert len(running.parked(["sink"])) == 2

    async def test_it_is_on_the_disk_before_the_position_is_behind_it(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut between the two repeats the refusal, and the text is parked once."""
        order: list[str] = []
        real = replace_file

        def noted(path: Path, content: bytes, mode: int) -> None:
            order.append(path.name)
            real(path, content, mode)

        monkeypatch.setattr("flowpi.host.durable_file.replace_file", noted)
        before = (harness.positions / "sink.position").read_bytes()
        first, second = Recording(), Recording()
        first.refuses_for_good = second.refuses_for_good = {1}
        async with harness.run(sink=first) as running:
            await harness.say(1)
            await until(lambda: running.parked(["sink"]))
            await until(lambda: len(order) == 2)
        assert order == ["sink.parked", "sink.position"]
        (harness.positions / "sink.position").write_bytes(before)
        async with harness.run(sink=second) as running:
            await harness.say(2)
            await until(lambda: second.got == [2])
            assert len(running.parked(["sink"])) == 1

    async def test_a_disk_that_is_full_parks_nothing(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        sink = Recording()
        sink.refuses_for_good = {1}
        real = replace_file
        monkeypatch.setattr("flowpi.host.durable_file.replace_file", full)
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: "sink.sink" in harness.faults)
            assert (sink.got, running.parked(["sink"])) == ([], [])
            monkeypatch.setattr("flowpi.host.durable_file.replace_file", real)
            await until(lambda: sink.got == [2])
            assert len(running.parked(["sink"])) == 1

    async def test_one_that_is_no_longer_in_the_transcripts_counts_as_missed(
        self, harness: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        sink = Recording()
        sink.refuses_for_good = {1}
        async with harness.run(sink=sink) as running:
            await harness.say(1)
            await until(lambda: running.parked(["sink"]))
            (harness.transcripts.directory / "2023-11-14.jsonl").unlink()
            running.retry(["sink"])
            await until(lambda: not running.parked(["sink"]))
            assert sink.got == []
            await until_shown(running, parked=0, missed=1)
            await until(lambda: "(1 expired before the sink sink had them)" in harness.faults["undelivered.sink"])
            assert "a parked text is not in the transcripts any more" in caplog.text


class TestSkip:
    async def test_the_text_that_blocks_is_parked(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_write = True
        async with harness.run(sink=sink) as running:
            await harness.say(1, 2)
            await until(lambda: "sink.sink" in harness.faults)
            assert await running.skip(["sink"]) == 1
            await until(lambda: running.parked(["sink"]) == [ParkedText("sink", final(1).id, 1, SKIPPED)])
            sink.refuses_write = False
            await until(lambda: sink.got == [2])
            running.retry(["sink"])
            await until(lambda: sink.got == [2, 1])
            await until(lambda: not harness.faults)

    async def test_a_sink_that_cannot_be_opened_passes_it_too(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_write = True
        async with harness.run(sink=sink) as running:
            await harness.say(1)
            await until(lambda: "sink.sink" in harness.faults)
            sink.refuses_open = True
            await until(lambda: "nobody" in harness.faults["sink.sink"])
            await running.skip(["sink"])
            await until(lambda: running.parked(["sink"]))


class TestShown:
    async def test_how_far_it_is_and_why(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lag, "PIECE_BYTES", 100)  # so that counting needs several turns
        sink = Recording()
        sink.refuses_write = True
        await harness.say(1, 2)
        async with harness.run(sink=sink) as running:
            await until(lambda: harness.faults)
            now = await shown(running)
            assert (now.state, now.waiting, now.oldest_at) == ("failing", 2, final(1).started_at)
            assert (now.error, now.last) == ("it is full: make room", None)
            assert now.error_at is not None
            await harness.say(3, unix_s=NOON + DAY_S)
            assert (await shown(running)).waiting == 3
            sink.refuses_write = False
            await until_shown(running, state="open", waiting=0, oldest_at=None, last=text_id(3))
            assert (await shown(running)).error == "it is full: make room"  # what it was last
            await harness.say(4, unix_s=NOON + DAY_S)
            await until_shown(running, waiting=0, last=text_id(4))

    async def test_it_counts_on_while_the_sink_catches_up(self, harness: Harness) -> None:
        sink = Recording()
        sink.free.clear()
        await harness.say(*range(1, 11))
        async with harness.run(sink=sink) as running:
            await until(lambda: "write" in sink.calls)
            assert (await shown(running)).waiting == 10
            sink.before_return = lambda: sink.free.clear() if len(sink.got) == 4 else None
            sink.free.set()
            await until(lambda: len(sink.got) == 4)
            await until_shown(running, waiting=6)
            await harness.say(11)
            assert (await shown(running)).waiting == 7
            await harness.say(11)  # it stands there already
            assert (await shown(running)).waiting == 7

    async def test_the_topic_follows(self, harness: Harness) -> None:
        messages: list[list[SinkPayload]] = []
        harness.hub.subscribe([topics.SINKS], lambda message, retained: messages.append(message.payload))
        sink = Recording()
        sink.refuses_for_good = {1}
        async with harness.run(sink=sink):
            await until(lambda: messages and messages[-1][0].state == "open")
            await harness.say(1, 2)
            await until(lambda: (messages[-1][0].parked, messages[-1][0].last) == (1, text_id(2)))
        kept: list[Message] = []
        harness.hub.subscribe([topics.SINKS], lambda message, retained: kept.append(message))
        (payload,) = json.loads(kept[0].json)
        assert (payload["name"], payload["state"], payload["last"]) == ("sink", "open", {"id": final(2).id, "part": 1})

    async def test_one_that_cannot_be_made_is_made_again(self, harness: Harness) -> None:
        sink = Recording()
        tries: list[None] = []

        def make() -> Sink:
            tries.append(None)
            if len(tries) < 3:
                raise OSError("no such certificate")
            return sink

        await harness.say(1)
        async with harness.run(sink=make) as running:
            await until(lambda: harness.faults == {"sink.sink": "no such certificate"})
            await until(lambda: sink.got == [1])
            await until(lambda: not harness.faults)
            assert (await shown(running)).state == "open"

    async def test_one_that_follows_texts_no_more_has_no_fault_for_them(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1}
        async with harness.run(sink=sink):
            await harness.say(1)
            await until(lambda: "undelivered.sink" in harness.faults)
        harness.faults.clear()
        async with harness.run(sink=Recording(durable=False)) as running:
            await harness.say(2)
            await until_shown(running, state="open", parked=0, waiting=0)
            assert harness.faults == {}

    async def test_one_that_follows_no_texts(self, harness: Harness) -> None:
        (harness.positions / "sink.position").unlink()
        async with harness.run(sink=Recording(durable=False)) as running:
            await until_shown(running, state="open")
            assert await running.skip(["sink"]) == 0
            running.retry(["sink"])
            assert (await shown(running)).last is None


async def test_a_week_is_caught_up_in_order(harness: Harness) -> None:
    numbers = list(range(1, 701))
    for number in numbers:
        await harness.say(number, unix_s=NOON + number // 100 * DAY_S)
    sink = Recording()
    sink.before_return = lambda: setattr(sink, "refuses_write", len(sink.got) % 100 == 50)
    async with harness.run(sink=sink) as running:
        await until(lambda: len(sink.got) == 50)
        while len(sink.got) < 700:
            await until(lambda: sink.refuses_write or len(sink.got) == 700)
            sink.refuses_write = False
        await until_shown(running, waiting=0, last=text_id(700))
    assert sink.got == numbers


@pytest.mark.parametrize("new", [True, False], ids=["new", "old"])
async def test_an_old_file_that_cannot_be_read_stops_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, new: bool
) -> None:
    await harness.say(1)
    await harness.say(2, unix_s=NOON + DAY_S)
    if new:
        (harness.positions / "sink.position").unlink()
    with unreadable(monkeypatch, "2023-11-14.jsonl"):
        sink = Recording()
        async with harness.run(sink=sink) as running:
            if new:
                await until(lambda: (harness.positions / "sink.position").exists())
            await until_shown(running, state="open", waiting=0)
            await harness.say(3, unix_s=NOON + DAY_S)
            await until(lambda: sink.got == ([3] if new else [2, 3]))
            await until_shown(running, waiting=0, last=text_id(3))
            assert harness.faults == {}
    assert caplog.text.count("2023-11-14.jsonl is passed over") == 1
    after = Recording()
    async with harness.run(sink=after):
        await harness.say(4, unix_s=NOON + DAY_S)
        await until(lambda: 4 in after.got)
        assert after.got == ([4] if new else [1, 4])
