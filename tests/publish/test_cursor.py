"""The position of a sink, called directly: what a cancelled call leaves, and what many callers cost."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flowpi.publish.cursor import Cursor
from flowpi.publish.files import Transcripts
from tests.publish.test_files import NOON, final
from tests.waiting import ticks


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
