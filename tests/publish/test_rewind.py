"""A destination that keeps the position too, and forgets: what it is sent again, and what it can never bring about."""

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.core.errors import SinkError
from flowpi.host.folders import replace_file
from flowpi.publish import feeder, publisher
from flowpi.publish.rewind import MOST_BREAKS
from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.publish.test_files import DAY_S, NOON, final
from tests.publish.test_undelivered import text_id, until_shown
from tests.waiting import until

DAY = "2023-11-14.jsonl"
NEXT_DAY = "2023-11-15.jsonl"


class Keeping(Recording):
    """A destination that keeps the position, with levers.

    Attributes:
        kept: the position that it shows.
        shows: whether it shows any.
        noted: what it was to keep, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: bytes | None = None
        self.shows = True
        self.breaks_at_second_question = False
        self.noted: list[bytes] = []
        self.before_note: Callable[[bytes], None] = lambda position: None
        self._lost = asyncio.Event()

    async def open(self) -> None:
        await super().open()
        self._lost.clear()

    def drop(self) -> None:
        """Lose the connection."""
        self._lost.set()

    async def wait_lost(self) -> None:
        await self._lost.wait()
        raise SinkError("the connection broke")

    async def position_there(self) -> bytes | None:
        self.calls.append("asked")
        if self.breaks_at_second_question and self.calls[-2] == "asked":
            self.breaks_at_second_question = False
            raise SinkError("the connection broke")
        return self.kept if self.shows else None

    def note_position(self, position: bytes) -> None:
        self.before_note(position)
        self.noted.append(position)
        self.kept = position

    async def forget(self, position: bytes | None) -> None:
        """Crash, with an older position, and wait until its position was compared."""
        # The position behind the last text is noted after the text: it must not replace the older one.
        await until(lambda: not self.got or final(self.got[-1]).id.encode() in self.noted[-1])
        self.kept = position
        asked = self.calls.count("asked")
        self.drop()
        await until(lambda: self.calls.count("asked") > asked)


def position(**files: int | None) -> bytes:
    """Return a position by the numbers of texts, in `DAY` (`day`) and `NEXT_DAY` (`next_day`)."""
    names = {"day": DAY, "next_day": NEXT_DAY}
    marks = {names[name]: number and {"id": final(number).id, "part": 1} for name, number in files.items()}
    return json.dumps(marks).encode()


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(publisher, "NEWS_S", 0.0)
    harness = Harness(tmp_path)
    await harness.say(1)  # before there was a sink: it never receives this one
    yield harness
    harness.transcripts.close()


async def begun(harness: Harness, *numbers: int) -> Keeping:
    """Return a destination that has these texts, and keeps the position behind them."""
    sink = Keeping()
    async with harness.run(sink=sink):
        await until(lambda: "asked" in sink.calls and sink.noted)
        await harness.say(*numbers)
        await until(lambda: sink.got == list(numbers))
        await until(lambda: len(sink.noted) > len(numbers))
    return sink


async def come(harness: Harness, sink: Keeping, *numbers: int, new: int = 99) -> None:
    """Run the publisher, and check that the sink receives these texts and then a new one."""
    sink.got.clear()
    async with harness.run(sink=sink):
        await harness.say(new)
        await until(lambda: new in sink.got)
    assert sink.got == [*numbers, new]


class TestForgotten:
    async def test_an_older_position_brings_all_texts_behind_it_again(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3, 4, 5)
        sink.kept = position(day=3)
        await come(harness, sink, 4, 5)

    async def test_no_position_brings_all_texts_of_the_day_again(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        sink.kept = None
        await come(harness, sink, 2, 3)

    async def test_a_file_that_it_does_not_name_is_new_to_it(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        async with harness.run(sink=sink):
            await harness.say(4, 5, unix_s=NOON + DAY_S)
            await until(lambda: len(sink.got) == 4)
        sink.kept = position(day=2)
        sink.got.clear()
        async with harness.run(sink=sink):
            await until(lambda: len(sink.got) == 3)
        assert sink.got == [3, 4, 5]

    async def test_after_the_clock_went_back_each_file_has_its_own(self, harness: Harness) -> None:
        sink = await begun(harness)
        async with harness.run(sink=sink):
            await harness.say(2, 3, unix_s=NOON + DAY_S)
            await harness.say(4, 5)
            await until(lambda: len(sink.got) == 4)
        sink.kept = position(day=4, next_day=2)
        sink.got.clear()
        async with harness.run(sink=sink):
            await until(lambda: len(sink.got) == 2)
        assert sorted(sink.got) == [3, 5]

    async def test_nothing_is_forgotten_and_nothing_comes_again(self, harness: Harness) -> None:
        await come(harness, await begun(harness, 2, 3))

    async def test_it_shows_how_much_waits_again(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3, 4)
        sink.kept = position(day=2)
        sink.free.clear()
        async with harness.run(sink=sink) as running:
            await until_shown(running, waiting=2, last=text_id(2), oldest_at=final(3).started_at)
            sink.free.set()
            await until_shown(running, waiting=0, last=text_id(4))

    async def test_it_forgets_again_while_it_is_sent_the_old_ones(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3, 4, 5)
        sink.got.clear()
        async with harness.run(sink=sink):
            await sink.forget(position(day=2))
            await until(lambda: sink.got == [3, 4, 5])
            await sink.forget(None)
            await until(lambda: sink.got == [3, 4, 5, 2, 3, 4, 5])
            await harness.say(6)
            await until(lambda: sink.got[-1] == 6)
        assert sink.got == [3, 4, 5, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize("breaks", [False, True])
    async def test_a_text_whose_position_was_not_written_is_not_passed_over(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch, breaks: bool
    ) -> None:
        """The sink has it, but the next text after the way back is another one."""
        sink = await begun(harness, 2, 3)

        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        async with harness.run(sink=sink):
            monkeypatch.setattr("flowpi.host.durable_file.replace_file", full)
            await harness.say(4)
            await until(lambda: sink.got[-1] == 4 and harness.faults)
            sink.got.clear()
            sink.breaks_at_second_question = breaks
            sink.kept = None
            monkeypatch.setattr("flowpi.host.durable_file.replace_file", replace_file)
            await until(lambda: sink.got and sink.got[-1] == 4)
            assert not sink.breaks_at_second_question
        assert sink.got == [2, 3, 4]


class TestFailing:
    async def test_one_that_breaks_at_the_question_each_time_does_not_count_as_working(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def breaks() -> bytes | None:
            sink.calls.append("asked")
            raise SinkError("the connection broke")

        sink = Keeping()
        monkeypatch.setattr(sink, "position_there", breaks)
        async with harness.run(sink=sink) as running:
            await until(lambda: sink.calls.count("asked") == MOST_BREAKS)
            await until_shown(running, state="failing")
        assert sum("broke" in record.message and record.levelno >= logging.WARNING for record in caplog.records) == 1

    @pytest.mark.parametrize("showed", [False, True])
    async def test_one_that_hangs_up_on_who_asks_is_fed_if_it_never_showed_any(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, showed: bool
    ) -> None:
        async def breaks() -> bytes | None:
            sink.calls.append("asked")
            raise SinkError("the connection broke")

        sink = await begun(harness, 2) if showed else Keeping()
        sink.got.clear()
        sink.noted.clear()
        monkeypatch.setattr(sink, "position_there", breaks)
        before = sink.calls.count("asked")
        async with harness.run(sink=sink):
            await until(lambda: sink.calls.count("asked") > before)
            await harness.say(3)
            if showed:  # it may have forgotten texts: they come first
                await until(lambda: sink.calls.count("asked") > before + 2 * MOST_BREAKS)
                assert (sink.got, caplog.text.count("does not show")) == ([], 0)
            else:
                await until(lambda: sink.got == [3])
                assert (sink.calls.count("asked"), sink.noted) == (MOST_BREAKS, [])
                sink.drop()
                await until(lambda: sink.calls.count("asked") == 2 * MOST_BREAKS)
                assert caplog.text.count("does not show") == 1


class TestOrder:
    async def test_the_position_is_on_the_disk_before_the_destination_has_it(self, harness: Harness) -> None:
        sink = Keeping()
        on_disk: list[Any] = []
        sink.before_note = lambda _: on_disk.append(json.loads((harness.positions / "sink.position").read_bytes()))
        async with harness.run(sink=sink):
            await until(lambda: sink.noted)
            await harness.say(2, 3)
            await until(lambda: len(sink.noted) == 3)
        assert [json.loads(one) for one in sink.noted] == [{}, *on_disk[1:]]
        assert on_disk[-1] == json.loads(position(day=3))

    async def test_a_crash_on_the_way_back_leads_neither_on_nor_round(
        self, harness: Harness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The trail is shortened first: if only that is done, the way back is still there."""
        sink = await begun(harness, 2, 3, 4)

        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        sink.kept = None
        monkeypatch.setattr("flowpi.host.durable_file.replace_file", full)
        async with harness.run(sink=sink):
            await until(lambda: "No space left" in harness.faults.get("sink.sink", ""))
        monkeypatch.setattr("flowpi.host.durable_file.replace_file", replace_file)
        sink.kept = position(day=2)
        await come(harness, sink, 3, 4)


class TestNeverOn:
    """Whatever a destination shows, no text is passed over."""

    @pytest.mark.parametrize(
        ("shown", "again"),
        [
            (position(day=4), []),  # newer than ours
            (position(day=5, next_day=1), []),
            (position(day=77), [2, 3]),  # of another appliance
            (position(day=1), [2, 3]),  # from before the sink began
            (position(day=None), [2, 3]),
            (b"", [2, 3]),
            (b"{", [2, 3]),
            (b"[" * 50_000, [2, 3]),
            (b'{"2023-11-14.jsonl": 7}', [2, 3]),
            (b'{"../../etc/passwd": {"id": "x", "part": 1}}', [2, 3]),
            (b"\xff\x00", [2, 3]),
        ],
    )
    async def test_it_shows(self, harness: Harness, shown: bytes, again: list[int]) -> None:
        sink = await begun(harness, 2, 3)
        await harness.say(4, 5)  # not sent yet
        sink.kept = shown
        await come(harness, sink, *again, 4, 5)

    async def test_a_text_that_somebody_took_out(self, harness: Harness) -> None:
        sink = await begun(harness, 2, 3)
        await harness.say(4)
        path = harness.transcripts.directory / DAY
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(line for line in lines if final(3).id.encode() not in line))
        sink.kept = position(day=4)
        await come(harness, sink, 4)


async def test_the_log_says_that_it_went_back_and_not_to_which_words(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    sink = await begun(harness, 2, 3)
    caplog.set_level(logging.INFO)
    sink.kept = None
    await come(harness, sink, 2, 3)
    assert "sink.sink: the destination has forgotten texts, and is sent them again" in caplog.messages
    assert final(3).text not in caplog.text
