"""The position of a sink, called directly: what a cancelled call leaves, and what many callers cost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flowpi.publish.cursor import Cursor
from flowpi.publish.files import Transcripts
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
