"""The position of a sink, called directly: what a cancelled call leaves, and what many callers cost."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowpi.core.errors import SinkError
from flowpi.publish.cursor import Cursor
from flowpi.publish.files import Transcripts
from flowpi.publish.log_reader import LOOK_BYTES, last_in
from flowpi.publish.messages import TextId
from tests.publish.test_files import NOON, final
from tests.waiting import ticks, until


@pytest.fixture
async def cursor(tmp_path: Path, transcripts: Transcripts) -> AsyncIterator[Cursor]:
    cursor = Cursor(tmp_path / "sinks/sink.position", transcripts)
    await cursor.open()
    yield cursor
    cursor.close()


async def test_passed_that_is_called_again_after_a_cancel_counts_once(transcripts: Transcripts, cursor: Cursor) -> None:
    for number in (1, 2, 3):
        await transcripts.append(final(number), NOON)
    assert (await cursor.behind()).waiting == 3
    await cursor.next()
    call = asyncio.create_task(cursor.passed())
    await ticks(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert call.cancelled()
    await cursor.passed()
    assert (await cursor.behind()).waiting == 2


async def test_a_crowd_that_asks_how_far_it_is_holds_no_text_up(
    transcripts: Transcripts, cursor: Cursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, queued, most, jobs = transcripts.between_lines, 0, 0, 0
    free = threading.Event()

    async def counted(job: Callable[[], Any]) -> Any:
        nonlocal queued, most, jobs
        queued, jobs = queued + 1, jobs + 1
        most = max(most, queued)
        try:
            return await real(job)
        finally:
            queued -= 1

    monkeypatch.setattr(transcripts, "between_lines", counted)
    blocked = asyncio.create_task(real(free.wait))
    crowd = [asyncio.create_task(cursor.behind()) for _ in range(100)]
    await until(lambda: queued)
    crowd += [asyncio.create_task(cursor.behind()) for _ in range(100)]
    await ticks()
    appended = asyncio.create_task(transcripts.append(final(1), NOON))
    await ticks()
    crowd[0].cancel()  # the others need it
    free.set()
    await blocked
    await appended
    assert {one.waiting for one in await asyncio.gather(*crowd[1:100])} == {0}
    assert {one.waiting for one in await asyncio.gather(*crowd[100:])} == {1}
    assert (await cursor.behind()).waiting == 1
    assert (most, jobs) == (1, 3)


@pytest.mark.parametrize(("number", "hint"), [(errno.EACCES, "with chown"), (errno.ENOSPC, "free some space")])
async def test_what_cannot_be_written_says_what_helps(
    transcripts: Transcripts, cursor: Cursor, monkeypatch: pytest.MonkeyPatch, number: int, hint: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    await transcripts.append(final(1), NOON)
    await cursor.next()
    monkeypatch.setattr("flowpi.host.durable_file.replace_file", refuse)
    with pytest.raises(SinkError, match=hint):
        await cursor.passed()


@pytest.mark.parametrize(
    "tail", [b"", b"\n", b'{"torn": ', b"x" * 300_000, b"\n" * 20_000], ids=lambda tail: str(len(tail))
)
@pytest.mark.parametrize("letters", [1, 5000, 100_000])
def test_the_last_text_of_a_file_is_found_from_its_end(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, tail: bytes, letters: int
) -> None:
    texts = [msgspec.structs.replace(final(number), text="\N{EURO SIGN}" * letters) for number in range(1, 8)]
    lines = b"".join(msgspec.json.encode(text) + b"\n" for text in texts)
    path = transcripts.directory / "2026-01-01.jsonl"
    path.write_bytes(lines + tail)
    read, real = 0, os.pread

    def pread(handle: int, length: int, start: int) -> bytes:
        nonlocal read
        read += len(found := real(handle, length, start))
        return found

    monkeypatch.setattr(os, "pread", pread)
    assert last_in(transcripts, path.name) == TextId(final(7).id, 1)
    size = len(lines) // len(texts) + len(tail)
    assert read < 2 * LOOK_BYTES + 6 * size  # each look is four times as long as the one before


def test_a_file_without_a_text_has_no_last_one(transcripts: Transcripts) -> None:
    for content in (b"", b"\n", b"[]\n" * 10_000):
        (transcripts.directory / "2026-01-01.jsonl").write_bytes(content)
        assert last_in(transcripts, "2026-01-01.jsonl") is None
