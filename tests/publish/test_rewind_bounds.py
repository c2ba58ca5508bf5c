"""How far and how often a position goes back, with texts that were put aside or have expired."""

import asyncio

import pytest

from flowpi.publish import trail
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.publish.test_files import DAY_S, NOON, final, unreadable
from tests.publish.test_rewind import DAY, Keeping, begun, come, position
from tests.publish.test_rewind import harness as harness  # the fixture
from tests.publish.test_undelivered import shown, until_shown
from tests.waiting import until


class TestBounds:
    async def test_only_so_often_without_a_new_text(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(trail, "MOST_RETURNS", 3)
        sink = await begun(harness, 2, 3)
        sink.got.clear()
        async with harness.run(sink=sink):
            for _ in range(6):
                await sink.forget(position(day=2))
                await until(lambda: sink.kept == position(day=3).replace(b" ", b""))
            assert sink.got == [3] * 3
            await harness.say(4)
            await until(lambda: sink.got[3:] == [4])
            await sink.forget(position(day=2))
            await until(lambda: sink.got[4:] == [3, 4])
        said = [line for line in caplog.messages if "forgotten the same texts 3 times" in line]
        assert len(said) == 1

    async def test_one_that_never_shows_anything_gets_nothing_twice(
        self, harness: Harness, caplog: pytest.LogCaptureFixture
    ) -> None:
        sink = Keeping()
        sink.shows = False
        async with harness.run(sink=sink):
            await until(lambda: sink.calls.count("asked") == 2)
            await harness.say(2, 3)
            await until(lambda: sink.got == [2, 3])
            for _ in range(3):
                await sink.forget(None)
            await harness.say(4)
            await until(lambda: 4 in sink.got)
        assert sink.got == [2, 3, 4]
        await come(harness, sink)
        assert sum("does not show the position" in line for line in caplog.messages) == 2  # once each run

    async def test_one_that_shows_nothing_any_more_gets_the_day_once(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        sink.shows = False
        await come(harness, sink, 2, 3)
        await come(harness, sink, new=98)  # not even after a restart
        sink.shows = True
        await come(harness, sink, new=97)
        sink.kept = None
        await come(harness, sink, 2, 3, 99, 98, 97, new=96)

    async def test_only_a_sink_that_can_go_back_keeps_a_trail(self, harness: Harness) -> None:
        sink = Recording()
        async with harness.run(sink=sink):
            await until(lambda: (harness.positions / "sink.position").exists())
            await harness.say(2)
            await until(lambda: sink.got == [2])
        assert [path.name for path in harness.positions.iterdir()] == ["sink.position"]


class TestPutAside:
    async def test_a_text_that_was_refused_for_good_stays_parked(self, harness: Harness) -> None:
        sink = Keeping()
        sink.refuses_for_good = {3}
        async with harness.run(sink=sink) as running:
            await until(lambda: sink.noted)
            await harness.say(2, 3, 4)
            await until(lambda: sink.got == [2, 4])
            writes = sink.calls.count("write")
            await sink.forget(position(day=2))
            await until(lambda: sink.got == [2, 4, 4])
            assert sink.calls.count("write") == writes + 1
            assert [one.id for one in running.parked(["sink"])] == [final(3).id]
            sink.refuses_for_good = set()
            running.retry(["sink"])
            await until(lambda: not running.parked(["sink"]))
        assert sink.got == [2, 4, 4, 3]

    async def test_a_text_that_was_skipped_blocks_nobody_again(self, harness: Harness) -> None:
        sink = Keeping()
        sink.fails_at = {3}
        async with harness.run(sink=sink) as running:
            await until(lambda: sink.noted)
            await harness.say(2, 3, 4)
            await until(lambda: "sink.sink" in harness.faults)
            assert await running.skip(["sink"]) == 1
            await until(lambda: sink.got == [2, 4])
            await sink.forget(None)
            await until(lambda: sink.got == [2, 4, 2, 4])
            assert [one.id for one in running.parked(["sink"])] == [final(3).id]


class TestExpired:
    async def expire(self, harness: Harness, days: float) -> None:
        for uptime_days in (days * 10, days * 10 + 1):
            await asyncio.to_thread(harness.transcripts.expire, NOON + days * DAY_S, uptime_days * DAY_S + 1e9)

    async def test_what_has_expired_does_not_come_again(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        async with harness.run(sink=sink):
            await harness.say(4, unix_s=NOON + 40 * DAY_S)
            await until(lambda: sink.got[-1] == 4)
            await self.expire(harness, 40)
            assert not (harness.transcripts.directory / DAY).exists()
            await sink.forget(None)
            await until(lambda: sink.got == [2, 3, 4, 4])

    async def test_what_comes_again_is_kept_until_it_came(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        harness.transcripts.limit_lag(50)
        sink.free.clear()
        sink.kept = position(day=2)
        async with harness.run(sink=sink) as running:
            await until_shown(running, waiting=1)
            await self.expire(harness, 40)
            assert (await shown(running)).waiting == 1
            await self.expire(harness, 52)
            await until_shown(running, waiting=0)

    async def test_a_file_that_cannot_be_read_holds_up_no_other(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sink = await begun(harness, 2, 3)
        async with harness.run(sink=sink):
            await harness.say(4, 5, unix_s=NOON + DAY_S)
            await until(lambda: len(sink.got) == 4)
            with unreadable(monkeypatch, DAY):
                await sink.forget(None)
                await until(lambda: sink.got[4:] == [4, 5])
