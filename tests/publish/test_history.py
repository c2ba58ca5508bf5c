"""Who reads the transcripts joins those who receive what is appended, at one place and in one turn of the loop."""

import asyncio

import pytest

from flowpi.core.errors import SpoolError
from flowpi.publish import shares
from flowpi.publish.files import Transcripts
from flowpi.publish.history import History
from flowpi.publish.log_reader import LogReader, Piece
from flowpi.publish.messages import TextId
from tests.publish.test_files import DAY_S, NOON, fails, final
from tests.waiting import ticks, until

BEGINNING = TextId(final(0).id, 1)


class Listener:
    def __init__(self) -> None:
        self.got: list[int] = []
        self.errors: list[str] = []

    def receive(self, piece: Piece) -> None:
        self.got += numbers(piece)

    def fail(self, error: SpoolError) -> None:
        self.errors.append(str(error))


def numbers(piece: Piece) -> list[int]:
    return [int(text.final.id[-3:]) for text in piece.texts]


async def rest(history: History, reader: LogReader) -> list[int]:
    """Read what a reader does not have."""
    piece = await history.read(reader)
    reader.commit(piece)
    return numbers(piece)


async def say(transcripts: Transcripts, *texts: int, days: int = 0) -> None:
    for number in texts:
        await transcripts.append(final(number), NOON + days * DAY_S)


async def test_one_that_stands_elsewhere_reads_on_first(transcripts: Transcripts) -> None:
    history, one, other = History(transcripts), Listener(), Listener()
    await say(transcripts, 1)
    first, second = await history.search(BEGINNING), await history.search(BEGINNING)
    assert await rest(history, first) == await rest(history, second) == [1]
    assert history.join(first, one)
    await say(transcripts, 2)
    await history.catch_up()
    assert one.got == [2]
    assert not history.join(second, other)
    assert await rest(history, second) == [2]
    assert history.join(second, other)
    await say(transcripts, 3, days=1)
    await history.catch_up()
    assert (one.got, other.got) == ([2, 3], [3])


async def test_one_that_is_ahead_waits_for_the_tail(transcripts: Transcripts) -> None:
    history, one, other = History(transcripts), Listener(), Listener()
    await say(transcripts, 1)
    first = await history.search(BEGINNING)
    await rest(history, first)
    assert history.join(first, one)
    await history.catch_up()
    await say(transcripts, 2)
    second = await history.search(TextId(final(2).id, 1))
    assert await rest(history, second) == []
    while not history.join(second, other):
        await history.catch_up()
        assert await rest(history, second) == []
    await say(transcripts, 3)
    await history.catch_up()
    assert (one.got, other.got) == ([2, 3], [3])


async def test_what_was_appended_before_the_first_one_joined_is_read(transcripts: Transcripts) -> None:
    history, one = History(transcripts), Listener()
    reader = await history.search(BEGINNING)
    assert await rest(history, reader) == []
    await say(transcripts, 1)  # nobody listens yet
    assert history.join(reader, one)
    await until(lambda: one.got == [1])


async def test_one_that_has_left_receives_nothing(transcripts: Transcripts) -> None:
    history, one, other = History(transcripts), Listener(), Listener()
    reader = await history.search(BEGINNING)
    await rest(history, reader)
    assert history.join(reader, one)
    history.leave(one)
    history.leave(other)
    await say(transcripts, 1)
    await ticks()
    again = await history.search(TextId(final(1).id, 1))
    assert await rest(history, again) == []
    assert history.join(again, other)  # another tail
    await say(transcripts, 2)
    await history.catch_up()
    assert (one.got, other.got) == ([], [2])


async def test_a_crowd_has_its_texts_in_many_turns_of_the_loop(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who joins or leaves in between misses none, and has none twice."""
    monkeypatch.setattr(shares, "TURN_S", 0.0)  # each has a turn of its own
    history, turns, turn = History(transcripts), list[int](), 0

    def count() -> None:
        nonlocal turn
        turn += 1
        counting[0] = asyncio.get_running_loop().call_soon(count)

    class Counted(Listener):
        def receive(self, piece: Piece) -> None:
            super().receive(piece)
            turns.append(turn)
            if len(turns) == 5:
                history.leave(crowd[10])
                assert history.join(ahead, late)

    crowd, late = [Counted() for _ in range(20)], Listener()
    ahead = await history.search(BEGINNING)
    for one in crowd:
        reader = await history.search(BEGINNING)
        assert await rest(history, reader) == []
        while not history.join(reader, one):
            await history.catch_up()
    await history.catch_up()
    appending = asyncio.create_task(say(transcripts, 1))
    while not await rest(history, ahead):
        pass
    counting = [asyncio.get_running_loop().call_soon(count)]
    await appending
    await until(lambda: late in history._listeners)
    await say(transcripts, 2)
    await history.catch_up()
    counting[0].cancel()
    assert len(set(turns)) == len(turns) == 19 + 19
    assert [one.got for one in crowd] == [[1, 2] if one is not crowd[10] else [] for one in crowd]
    assert late.got == [2]


async def test_all_are_told_when_nothing_can_be_read(transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch) -> None:
    history, one = History(transcripts), Listener()
    reader = await history.search(BEGINNING)
    await rest(history, reader)
    assert history.join(reader, one)
    await history.catch_up()
    with monkeypatch.context() as disk:
        disk.setattr("flowpi.publish.log_reader.opened", fails)
        await say(transcripts, 1)
        await until(lambda: one.errors)
    where = f"the transcripts in {str(transcripts.directory)!r}"
    assert one.errors == [f"{where} cannot be read (Input/output error): check its disk, and see the journal"]
    again = await history.search(BEGINNING)
    assert await rest(history, again) == [1]
    assert history.join(again, one)
    history.leave(one)


async def test_a_file_that_expires_separates_nobody(transcripts: Transcripts) -> None:
    history, one, other = History(transcripts), Listener(), Listener()
    await say(transcripts, 1)
    await say(transcripts, 2, days=1)
    first = await history.search(BEGINNING)
    assert await rest(history, first) == [1, 2]
    assert history.join(first, one)
    await history.catch_up()
    (transcripts.directory / "2023-11-14.jsonl").unlink()
    second = await history.search(BEGINNING)
    assert await rest(history, second) == [2]
    while not history.join(second, other):
        await history.catch_up()
        assert await rest(history, second) == []
    await say(transcripts, 3, days=1)
    await history.catch_up()
    assert (one.got, other.got) == ([3], [3])
