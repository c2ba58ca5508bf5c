"""The order of the transcripts' system calls: a line counts once it and the name of its file are on the disk."""

import errno
import os

import pytest

from flowpi.core.errors import SpoolError
from flowpi.publish.files import Transcripts
from tests.publish.test_files import DAY_S, NOON, final, lines
from tests.rig.calls import recorded

FILE = "2023-11-14.jsonl"
ADDED = [f"write {FILE}", f"sync {FILE}"]


def fail(call: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_to_sync(call: str) -> None:
    if call.startswith("sync"):
        fail(call)


async def leave_in_doubt(transcripts: Transcripts, disk: pytest.MonkeyPatch) -> None:
    """Write line 1 so that it can neither be synced nor be cut off again."""
    await transcripts.append(final(0), NOON)
    with disk.context() as broken:
        recorded(broken, fail_to_sync)
        broken.setattr(os, "ftruncate", lambda handle, size: fail(""))
        with pytest.raises(SpoolError):
            await transcripts.append(final(1), NOON)


async def test_the_name_of_a_new_file_then_the_line(transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = recorded(monkeypatch)
    await transcripts.append(final(1), NOON)
    assert calls == ["sync transcripts", *ADDED]
    calls.clear()
    await transcripts.append(final(2), NOON)
    assert calls == ADDED


@pytest.mark.parametrize("unix_s", [NOON, NOON + DAY_S], ids=["today", "yesterday"])
async def test_a_line_that_stands_there_is_synced_before_it_counts(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, unix_s: float
) -> None:
    """A process that was killed may have written the line and synced nothing."""
    await transcripts.append(final(1), NOON)
    with monkeypatch.context() as disk:
        calls = recorded(disk)
        await transcripts.append(final(1), unix_s)
    assert calls == [f"sync {FILE}"]
    with monkeypatch.context() as disk:
        recorded(disk, fail_to_sync)
        with pytest.raises(SpoolError):
            await transcripts.append(final(1), unix_s)
    assert len(lines(transcripts)) == 1


@pytest.mark.parametrize("number", [1, 2], ids=["the line that failed", "another"])
async def test_a_file_in_doubt_is_replaced_by_one_that_is_whole_before(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    await leave_in_doubt(transcripts, monkeypatch)
    calls = recorded(monkeypatch)
    await transcripts.append(final(number), NOON)
    assert calls == [
        f"delete {FILE}.new",
        f"make {FILE}.new",
        f"sync {FILE}.new",
        f"rename {FILE}.new",
        "sync transcripts",
    ]
    assert [line["id"][-1] for line in lines(transcripts)] == ["0", "1", "2"][: number + 1]


@pytest.mark.parametrize("failing", [f"sync {FILE}.new", f"rename {FILE}.new", "sync transcripts"])
async def test_while_it_cannot_be_replaced_no_line_of_it_counts(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    await leave_in_doubt(transcripts, monkeypatch)

    def fails(call: str) -> None:
        if call == failing:
            fail(call)

    with monkeypatch.context() as disk:
        recorded(disk, fails)
        for _ in range(2):
            with pytest.raises(SpoolError):
                await transcripts.append(final(1), NOON)
    await transcripts.append(final(1), NOON)
    assert [line["id"][-1] for line in lines(transcripts)] == ["0", "1"]
    assert os.listdir(transcripts.directory) == [FILE]


async def test_where_the_name_cannot_be_synced_nothing_is_written(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        calls = recorded(disk, fail_to_sync)
        with pytest.raises(SpoolError):
            await transcripts.append(final(1), NOON)
    assert calls == ["sync transcripts"]
    await transcripts.append(final(1), NOON)
    assert len(lines(transcripts)) == 1


async def test_what_counts_after_a_crash_is_synced_before(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller of `ids` deletes the audio of what is returned."""
    await transcripts.append(final(1), NOON)
    with monkeypatch.context() as disk:
        calls = recorded(disk)
        assert len(transcripts.ids()) == 1
    assert calls == [f"sync {FILE}"]
    with monkeypatch.context() as disk:
        recorded(disk, fail_to_sync)
        assert transcripts.ids() == set()
