"""A client of `after` on a random walk: each text comes once, whatever happens."""

import asyncio
import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowpi.core.errors import SpoolError
from tests.publish.test_files import fails, final
from tests.publish.test_replay import ReplayHarness, number_of, numbers
from tests.publish.test_replay import harness as harness  # the fixture
from tests.publish.test_socket import Client, pause, resume
from tests.waiting import ticks, until


class Faithful:
    """A client that connects again after whatever happens, behind the last text that it has."""

    def __init__(self, harness: ReplayHarness) -> None:
        self.got: list[int] = []
        self._harness = harness
        self._client: Client | None = None
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(OSError, AssertionError):
                self._client = client = await self._harness.connect()
                client.send({"subscribe": ["#"], "after": {"id": final(self.got[-1] if self.got else 0).id, "part": 1}})
                while line := await client.read_line():
                    with contextlib.suppress(msgspec.DecodeError):
                        if json.loads(line).get("topic") == "transcript/final":
                            self.got.append(number_of(json.loads(line)))
                client.writer.transport.abort()
            await asyncio.sleep(0)

    def do(self, act: Callable[[Client], None]) -> None:
        if self._client is not None and not self._client.writer.transport.is_closing():
            act(self._client)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.do(lambda client: client.writer.transport.abort())


STEPS = st.lists(
    st.sampled_from(
        ["say", "say", "say", "again", "tomorrow", "reconnect", "pause", "resume", "kill", "sync fails", "turn"]
    ),
    max_size=30,
)


@given(STEPS)
@example(["say", "sync fails", "say", "reconnect", "say", "kill", "say"])
@settings(max_examples=40)
def test_each_text_comes_once_whatever_happens(steps: list[str]) -> None:
    asyncio.run(walk(steps))


async def walk(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        harness = ReplayHarness(Path(directory))
        await harness.start()
        client = Faithful(harness)
        said, said_on, days = 0, 0, 0
        try:
            for step in steps:
                match step:
                    case "say":
                        said, said_on = said + 1, days
                        await harness.say(said, days=days)
                    case "again" if said and days == said_on:  # as after a restart whose transcripts had it already
                        await harness.say(said, days=days)
                    case "tomorrow":
                        days += 1
                    case "reconnect":
                        client.do(lambda one: one.writer.transport.abort())
                    case "pause":
                        client.do(pause)
                    case "resume":
                        client.do(resume)
                    case "kill":
                        await harness.kill()
                        await harness.start()
                    case "sync fails":  # so that the file is written anew
                        said, said_on = said + 1, days
                        with mock.patch("os.fsync", fails), contextlib.suppress(SpoolError):
                            await harness.say(said, days=days)
                        await harness.say(said, days=days)
                    case _:
                        await ticks(5)
            client.do(resume)
            await until(lambda: len(client.got) >= said)
            await harness.history.catch_up()
            await ticks()
            assert client.got == list(range(1, said + 1))
        finally:
            await client.close()
            await harness.kill()


async def test_a_disk_that_is_full_gives_it_when_it_is_written(
    harness: ReplayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    client = await harness.replay(0)
    with monkeypatch.context() as disk:
        disk.setattr("os.write", full)
        with pytest.raises(SpoolError):
            await harness.say(1)
    await harness.say(2)
    await harness.say(1)
    assert await numbers(client, 2) == [2, 1]
