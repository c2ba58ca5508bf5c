"""How long the transcripts are kept for a sink, and what is counted when they expire before it has them."""

import asyncio

import pytest
from msgspec.structs import replace

from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.core.errors import SinkError
from flowpi.host.logfields import MessageId
from flowpi.publish.sinks import Sink, SinkKind
from tests.publish.destinations import Recording
from tests.publish.harness import Harness, follows_texts, made
from tests.publish.test_files import DAY_S, NOON, final
from tests.publish.test_undelivered import entries, shown, text_id, until_shown
from tests.publish.test_undelivered import harness as harness  # the fixture
from tests.waiting import until


class TestKept:
    """`keep_days` deletes no text that a sink still has to receive, until `max_lag_days`."""

    async def expire(self, harness: Harness, days: float) -> None:
        for uptime_days in (days * 10, days * 10 + 1):
            await asyncio.to_thread(harness.transcripts.expire, NOON + days * DAY_S, uptime_days * DAY_S + 1e9)

    @pytest.mark.parametrize("made", [True, False], ids=["made", "not_made"])
    async def test_what_waits_is_kept(self, harness: Harness, made: bool, caplog: pytest.LogCaptureFixture) -> None:
        def broken() -> Sink:
            raise SinkError("no library")

        sink = Recording()
        sink.refuses_open = True
        harness.transcripts.limit_lag(50)
        await harness.say(1, 2)
        async with harness.run(sink=sink if made else broken) as running:
            await until(lambda: harness.faults)
            await self.expire(harness, 40)
            assert (await shown(running)).waiting == 2
            await self.expire(harness, 52)
            assert not list(harness.transcripts.directory.iterdir())
            await until(lambda: "undelivered.sink" in harness.faults)
            assert "(2 expired before the sink sink had them)" in harness.faults["undelivered.sink"]
            expired = {"MESSAGE_ID": MessageId.TEXTS_EXPIRED.value, "FAULT": "undelivered.sink"}
            assert entries(caplog) == [expired]
            assert ((await shown(running)).waiting, (await shown(running)).missed) == (0, 2)
        async with harness.run(sink=Recording()) as running:  # it is not forgotten
            await until_shown(running, missed=2, state="open")
            assert await running.skip(["sink"]) == 2
            await until_shown(running, missed=0)
            assert "undelivered.sink" not in harness.faults

    async def test_what_a_profile_keeps_from_the_sink_neither_waits_for_it_nor_is_missed(
        self, harness: Harness
    ) -> None:
        sink = Recording()
        sink.refuses_write = True
        config = Config(profiles={"private": ProfileSettings(sinks=())})
        running = harness.publisher({"sink": SinkKind(lambda _: {"sink": sink}, made, follows_texts)}, config)
        await running.open()
        running.start()
        for number, profile in enumerate(("private", None, "private", None), 1):
            await harness.transcripts.append(replace(final(number), profile=profile), NOON)
        await harness.transcripts.append(replace(final(5), profile="private"), NOON + DAY_S)
        await until(lambda: "sink.sink" in harness.faults)
        assert (await shown(running)).waiting == 2
        harness.transcripts.limit_lag(50)
        await self.expire(harness, 40)
        assert len(harness.transcripts.names()) == 1  # nobody waits for what was said the day after
        sink.refuses_write = False
        running.retry(["sink"])
        await until_shown(running, waiting=0, oldest_at=None)
        sink.refuses_write = True
        await harness.transcripts.append(replace(final(6), profile="private"), NOON + 40 * DAY_S)
        await harness.say(7, unix_s=NOON + 40 * DAY_S)
        await until_shown(running, state="failing", waiting=1)
        await self.expire(harness, 92)
        await until_shown(running, waiting=0, missed=1)
        await running.close()
        assert sink.got == [2, 4]

    async def test_the_text_that_is_tried_counts_until_the_sink_has_it(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_write = True
        await harness.say(1, 2, 3)
        async with harness.run(sink=sink) as running:
            await until(lambda: "sink.sink" in harness.faults)
            await self.expire(harness, 52)
            await until(lambda: "(3 expired before the sink sink had them)" in harness.faults["undelivered.sink"])
        async with harness.run(sink=Recording()) as running:  # it was in memory only
            await until_shown(running, state="open", missed=3)
        await harness.say(4, 5, unix_s=NOON + 60 * DAY_S)
        async with harness.run(sink=sink) as running:
            await until(lambda: "sink.sink" in harness.faults)
            await self.expire(harness, 112)
            await until_shown(running, missed=5)
            sink.refuses_write = False
            await until_shown(running, missed=4)
            await until(lambda: "(4 expired before the sink sink had them)" in harness.faults["undelivered.sink"])
        assert sink.got == [4]
        async with harness.run(sink=Recording()) as running:
            await until_shown(running, state="open", missed=4)

    async def test_one_that_is_refused_after_it_expired_is_missed_at_the_retry(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1}
        sink.free.clear()
        async with harness.run(sink=sink) as running:
            await harness.say(1)
            await until(lambda: "write" in sink.calls)
            await self.expire(harness, 52)
            sink.free.set()
            await until_shown(running, parked=1, missed=0)
            running.retry(["sink"])
            await until_shown(running, parked=0, missed=1)
            assert await running.skip(["sink"]) == 1

    async def test_what_the_sink_has_goes_at_the_next_look(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_write = True
        harness.transcripts.limit_lag(50)
        await harness.say(1)
        async with harness.run(sink=sink) as running:
            await self.expire(harness, 40)
            assert len(list(harness.transcripts.directory.iterdir())) == 1
            sink.refuses_write = False
            await until_shown(running, waiting=0, last=text_id(1))
            await asyncio.to_thread(harness.transcripts.expire, NOON + 40 * DAY_S, 401.01 * DAY_S + 1e9)
            assert not list(harness.transcripts.directory.iterdir())
            assert (await shown(running)).missed == 0

    async def test_what_is_parked_is_kept(self, harness: Harness) -> None:
        sink = Recording()
        sink.refuses_for_good = {1}
        harness.transcripts.limit_lag(50)
        await harness.say(1)
        async with harness.run(sink=sink) as running:
            await until(lambda: running.parked(["sink"]))
            await self.expire(harness, 40)
            sink.refuses_for_good = set()
            running.retry(["sink"])
            await until(lambda: sink.got == [1])
            sink.refuses_for_good = {1}

    async def test_a_sink_that_is_not_configured_any_more_keeps_nothing(self, harness: Harness) -> None:
        harness.transcripts.limit_lag(50)
        await harness.say(1)
        sink = Recording()
        sink.refuses_open = True
        async with harness.run(sink=sink):
            await until(lambda: harness.faults)
        await self.expire(harness, 40)
        assert not list(harness.transcripts.directory.iterdir())
