"""The files of the sinks: who may use them, and what a damaged one costs."""

import json

import pytest

from tests.publish.destinations import Recording
from tests.publish.harness import Harness
from tests.publish.test_undelivered import harness as harness  # the fixture
from tests.publish.test_undelivered import shown
from tests.waiting import until


async def test_a_damaged_file_of_parked_texts_stops_nothing(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    (harness.positions / "sink.parked").write_bytes(b'{"parked":')
    sink = Recording()
    async with harness.run(sink=sink):
        await harness.say(1)
        await until(lambda: sink.got == [1])
    assert "sink.parked is damaged" in caplog.text


async def test_what_is_parked_is_for_this_user_alone(harness: Harness) -> None:
    sink = Recording()
    sink.refuses_for_good = {1}
    async with harness.run(sink=sink) as running:
        await harness.say(1)
        await until(lambda: running.parked(["sink"]))
    path = harness.positions / "sink.parked"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_bytes())["parked"][0]["name"] == "2023-11-14.jsonl"


async def test_two_daemons_do_not_share_the_positions(harness: Harness) -> None:
    first, second = Recording(), Recording()
    async with harness.run(sink=first):
        await harness.say(1)
        await until(lambda: first.got == [1])
        async with harness.run(sink=second) as running:
            await until(lambda: "another flowpi has the positions" in harness.faults.get("sink.sink", ""))
            await harness.say(2)
            await until(lambda: first.got == [1, 2])
            assert (await shown(running)).state == "failing"
    async with harness.run(sink=second):
        await harness.say(3)
        await until(lambda: second.got)
    assert (first.got, second.got) == ([1, 2], [3])
