"""The contract of sinks: what the publisher promises each of them, and how it protects each from the others."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.core.faults import kind_of
from flowpi.host.folders import replace_file
from flowpi.publish import feeder, publisher
from flowpi.publish.messages import Partial
from flowpi.publish.mqtt import kept_position
from flowpi.publish.sinks import SINKS, Sink, SinkKind
from tests.publish.destinations import KINDS, MakeSink, Recording
from tests.publish.harness import Harness, follows_texts
from tests.publish.test_files import DAY_S, NOON, final
from tests.waiting import PATIENCE_S, ticks, until


def test_each_row_is_held_to_the_contract() -> None:
    assert set(SINKS) <= set(KINDS)


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest) -> MakeSink:
    kind = KINDS[request.param]
    kind.new_destination()
    return kind


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(feeder, "CLOSE_S", 0.4)
    monkeypatch.setattr(publisher, "NEWS_S", 3600.0)
    monkeypatch.setattr(kept_position, "MOMENT_S", 0.01)
    harness = Harness(tmp_path)
    yield harness
    harness.transcripts.close()


async def test_no_sink_costs_nothing(harness: Harness) -> None:
    tasks = asyncio.all_tasks()
    async with harness.run(sink=None):
        await harness.say(1)
        assert asyncio.all_tasks() == tasks
    assert not harness.positions.exists()


async def test_each_text_once_and_in_order(harness: Harness, make: MakeSink) -> None:
    sink = make()
    await harness.say(1)  # before there was a sink
    async with harness.run(sink=sink):
        await until(lambda: (harness.positions / "sink.position").exists())
        await harness.say(3, 2)
        await harness.say(4, unix_s=NOON + DAY_S)
        await until(lambda: len(sink.got) == 3)
        await harness.say(5, unix_s=NOON - DAY_S)  # the clock went back
        await until(lambda: len(sink.got) == 4)
    assert sink.got == [3, 2, 4, 5]


@pytest.mark.parametrize("first", [False, True], ids=["known", "first_start"])
async def test_opened_late(harness: Harness, make: MakeSink, first: bool) -> None:
    if not first:
        await harness.begin(make)
    sink = make()
    sink.refuses_open = True
    async with harness.run(sink=sink):
        await until(lambda: sink.calls)
        await harness.say(1, 2)
        await until(lambda: sink.calls.count("open") > 2)
        assert harness.faults == {"sink.sink": "nobody is there: start it"}
        assert kind_of("sink.sink").accepts_presses
        sink.refuses_open = False
        await until(lambda: sink.got == [1, 2])
        await until(lambda: not harness.faults)


async def test_a_refused_text_comes_again_and_its_fault_stands_meanwhile(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    sink = make()
    sink.refuses_write = True
    async with harness.run(sink=sink):
        await harness.say(1, 2)
        await until(lambda: harness.faults)
        opened = sink.calls.count("open")
        await until(lambda: sink.calls.count("open") > opened)
        assert harness.faults == {"sink.sink": "it is full: make room"}
        sink.refuses_write = False
        await until(lambda: sink.got == [1, 2])
        await until(lambda: not harness.faults)


async def test_stopped_before_it_was_made_it_gets_what_was_said_meanwhile(harness: Harness) -> None:
    sink = Recording()
    running = harness.publisher({"sink": SinkKind(lambda config: {"sink": sink}, lambda sink, _: sink, follows_texts)})
    await running.open()
    assert running.names == ["sink"]
    await harness.say(1)
    await running.close()
    assert sink.calls == []
    async with harness.run(sink=sink):
        await harness.say(2)
        await until(lambda: sink.got == [1, 2])


async def test_a_reload_notes_where_a_new_sink_begins_before_it_is_made(harness: Harness) -> None:
    gate, sink = threading.Event(), Recording()

    def make(name: str, command: object) -> Sink:
        gate.wait()
        return sink

    kinds = {"new": SinkKind(lambda config: {"new": "new"} if config.device_id else {}, make, lambda name: True)}
    running = harness.publisher(kinds)
    await running.open()
    running.start()
    await running.apply(Config(device_id="desk"))
    await harness.say(1)
    gate.set()
    await until(lambda: sink.got == [1])
    await running.close()


async def test_it_catches_up_across_a_restart(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    await harness.say(1, 2)
    await harness.say(3, unix_s=NOON + DAY_S)
    first, second = make(), make()
    async with harness.run(sink=first):
        await until(lambda: len(first.got) == 3)
    await harness.say(4, unix_s=NOON + DAY_S)
    async with harness.run(sink=second):
        await until(lambda: second.got)
    assert (first.got, second.got) == ([1, 2, 3], [4])


async def test_a_kill_between_write_and_sync_repeats_one_text(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    first, second = make(), make()
    kept: list[bytes] = []
    first.before_return = lambda: kept.append((harness.positions / "sink.position").read_bytes())
    await harness.say(1, 2, 3)
    async with harness.run(sink=first):
        await until(lambda: len(first.got) == 3)
    (harness.positions / "sink.position").write_bytes(kept[1])  # as it was when 2 was written, but its position was not
    async with harness.run(sink=second):
        await until(lambda: len(second.got) == 2)
    assert second.got == [2, 3]


async def test_a_position_that_cannot_be_written_repeats_nothing(
    harness: Harness, make: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harness.begin(make)
    sink = make()

    def full(*arguments: object) -> None:
        raise OSError(28, os.strerror(28))

    async with harness.run(sink=sink):
        monkeypatch.setattr("flowpi.host.durable_file.replace_file", full)
        await harness.say(1, 2)
        await until(lambda: harness.faults)
        assert "No space left" in harness.faults["sink.sink"]
        monkeypatch.setattr("flowpi.host.durable_file.replace_file", replace_file)
        await until(lambda: len(sink.got) == 2)
        await until(lambda: not harness.faults)
    assert sink.got == [1, 2]


async def test_texts_that_expire_unread_are_counted(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    sink = Recording()
    sink.refuses_open = True
    await harness.begin(Recording)
    await harness.say(1, 2)
    async with harness.run(sink=sink):
        await harness.say(3, unix_s=NOON + 40 * DAY_S)
        for now_s in (0.0, 100 * DAY_S):
            await asyncio.to_thread(harness.transcripts.expire, NOON + 32 * DAY_S, now_s)
        sink.refuses_open = False
        await until(lambda: sink.got)
    assert sink.got == [3]
    assert "2023-11-14.jsonl expires before sink has 2 texts of it" in caplog.text


async def test_a_line_torn_by_a_power_cut_costs_no_other(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    await harness.say(1)
    path = harness.transcripts.directory / "2023-11-14.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id":"01JAZZ000000')
    sink = make()
    async with harness.run(sink=sink):
        await until(lambda: sink.got == [1])
        await harness.say(2)
        await until(lambda: sink.got == [1, 2])


async def test_a_text_that_somebody_took_out_is_not_waited_for(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    first, second = make(), make()
    await harness.say(1, 2)
    async with harness.run(sink=first):
        await until(lambda: len(first.got) == 2)
    path = harness.transcripts.directory / "2023-11-14.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    await harness.say(3)
    async with harness.run(sink=second):
        await until(lambda: second.got)
    assert second.got == [3]


async def test_a_slow_sink_holds_nobody_up(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    slow, other, listener = make(), Recording(), []
    slow.free.clear()
    harness.hub.subscribe(["#"], lambda message, retained: listener.append(message.payload))
    async with harness.run(sink=slow, other=other):
        await until(lambda: (harness.positions / "other.position").exists())
        await harness.say(*range(1, 51))
        harness.hub.publish("state", "idle")
        await until(lambda: len(other.got) == 50)
        assert listener == ["idle"]
        assert slow.calls.count("write") == 1
        slow.free.set()
        await until(lambda: slow.got == other.got)


async def test_one_that_never_answers_is_a_fault(
    harness: Harness, make: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder, "PATIENCE_S", 0.05)
    await harness.begin(make)
    sink = make()
    sink.free.clear()
    async with harness.run(sink=sink):
        await harness.say(1)
        await until(lambda: harness.faults)
        monkeypatch.setattr(feeder, "PATIENCE_S", PATIENCE_S)  # a busy machine may need longer for one that answers
        sink.free.set()
        await until(lambda: sink.got == [1])


async def test_one_that_hangs_at_its_close_is_opened_again(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    sink = make()
    sink.hangs_at_close = sink.refuses_write = True
    async with harness.run(sink=sink):
        await harness.say(1)
        await until(lambda: harness.faults)
        sink.refuses_write = False
        await until(lambda: sink.got == [1])


@pytest.mark.parametrize("lever", ["free", "hangs_at_close"])
async def test_the_stop_takes_no_longer_than_it_may(
    harness: Harness, make: MakeSink, monkeypatch: pytest.MonkeyPatch, lever: str
) -> None:
    monkeypatch.setattr(feeder, "PATIENCE_S", 1e6)
    await harness.begin(make)
    sink = make()
    sink.hangs_at_close = lever == "hangs_at_close"
    if lever == "free":
        sink.free.clear()
    async with harness.run(sink=sink) as running:
        await harness.say(1)
        await until(lambda: "write" in sink.calls)
        async with asyncio.timeout(PATIENCE_S):
            await running.close()
        assert sink.calls[-1] == "close"


async def test_a_text_that_is_being_written_at_the_stop_is_not_repeated(
    harness: Harness, make: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder, "CLOSE_S", PATIENCE_S)
    await harness.begin(make)
    first, second = make(), make()
    first.free.clear()
    async with harness.run(sink=first) as running:
        await harness.say(1)
        await until(lambda: "write" in first.calls)
        closing = asyncio.create_task(running.close())
        await ticks()
        first.free.set()
        await closing
    async with harness.run(sink=second):
        await harness.say(2)
        await until(lambda: second.got)
    assert (first.got, second.got) == ([1], [2])


async def test_live_messages_and_a_lost_connection(harness: Harness) -> None:
    sink = Recording(["state"], durable=False)
    harness.hub.publish("state", "idle")
    async with harness.run(sink=sink):
        await until(lambda: sink.live == [("idle", True)])
        harness.hub.publish("level", 1)
        sink.loses = True
        harness.hub.publish("state", "lost")
        await until(lambda: harness.faults)
        sink.loses = False
        await until(lambda: sink.live[1:] == [("lost", True)])
        await until(lambda: not harness.faults)
        harness.hub.publish("state", "back")
        assert sink.live[2:] == [("back", False)]  # once
    harness.hub.publish("state", "stopped")
    assert len(sink.live) == 3
    assert not harness.positions.exists()


async def test_a_mistake_in_a_kind_costs_no_other(harness: Harness) -> None:
    def broken(settings: object, command: object) -> Sink:
        raise ImportError("No module named 'aiomqtt'")

    sink = Recording(["state"], durable=False)
    kinds = {
        "broken": SinkKind(lambda config: {"broken": True}, broken, lambda settings: True),
        "good": SinkKind(lambda config: {"good": sink}, lambda sink, _: sink, follows_texts),
    }
    running = harness.publisher(kinds)
    await running.open()
    running.start()
    await until(lambda: sink.calls == ["open"])
    assert harness.faults == {"sink.broken": "No module named 'aiomqtt'"}
    await running.close()


async def test_a_reload_makes_a_sink_anew_whose_settings_changed(harness: Harness) -> None:
    sinks = {"one": Recording(), "two": Recording()}
    same = Recording(["state"], durable=False)
    running = harness.publisher(
        config=Config(device_id="one"),
        kinds={
            "changed": SinkKind(
                lambda config: {"changed": config.device_id} if config.device_id else {},
                lambda name, _: sinks[name],
                lambda name: True,
            ),
            "same": SinkKind(lambda config: {"same": "same"}, lambda settings, _: same, lambda settings: False),
        },
    )
    await running.open()
    running.start()
    await until(lambda: (harness.positions / "changed.position").exists())
    await harness.say(1)
    await until(lambda: sinks["one"].got == [1])
    await harness.say(2)
    await until(lambda: sinks["one"].got == [1, 2])
    sinks["one"].refuses_write = True
    await harness.say(3)
    await until(lambda: harness.faults)
    await running.apply(Config(device_id="two"))
    await until(lambda: sinks["two"].got == [3])
    assert sinks["one"].got == [1, 2]
    assert sinks["one"].calls[-1] == "close"
    await until(lambda: not harness.faults)
    assert same.calls == ["open"]
    await running.apply(Config())
    await running.close()
    assert sinks["two"].calls == ["open", "write", "close"]


async def test_a_fault_stands_over_a_reload_until_the_new_sink_works(harness: Harness) -> None:
    harness.faults = faults = Lasting()
    sinks = {"one": Recording(), "two": Recording()}
    running = harness.publisher(
        config=Config(device_id="one"),
        kinds={
            "sink": SinkKind(
                lambda config: {"sink": config.device_id} if config.device_id else {},
                lambda name, _: sinks[name],
                lambda name: True,
            )
        },
    )
    sinks["one"].refuses_open = sinks["two"].refuses_open = True
    await running.open()
    running.start()
    await until(lambda: harness.faults)
    for name in ("one", "two"):
        await running.apply(Config(device_id=name))
        await until(lambda: "open" in sinks[name].calls)  # noqa: B023
        assert "sink.sink" in harness.faults
    sinks["two"].refuses_open = False
    await until(lambda: not harness.faults)
    sinks["two"].refuses_write = True
    await harness.say(1)
    await until(lambda: harness.faults)
    await running.apply(Config())
    assert harness.faults == {}
    await running.close()
    assert faults.cleared == 2


class Lasting(dict[str, str]):
    """The faults that stand. `cleared`: how often one was over."""

    cleared = 0

    def pop(self, code: str, *default: Any) -> Any:
        self.cleared += code in self
        return super().pop(code, *default)


async def test_the_position_is_for_this_user_alone(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    path = harness.positions / "sink.position"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(path.read_bytes()) == {}


async def test_a_position_that_cannot_be_looked_at_is_a_fault_of_its_sink(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    harness.positions.write_text("in the way")
    async with harness.run(sink=Recording()) as running:
        await until(lambda: "sink.sink" in harness.faults)
        assert running.names == ["sink"]
    assert "sink.position" in harness.faults["sink.sink"]


async def test_what_a_profile_keeps_from_a_sink_passes_it_by_and_its_position_goes_on(harness: Harness) -> None:
    config = Config(profiles={"private": ProfileSettings(sinks=("other",)), "shared": ProfileSettings(sinks=("sink",))})
    sink = Recording(filters=("transcript/#", "state"))
    running = harness.publisher({"sink": SinkKind(lambda _: {"sink": sink}, lambda one, _: one, follows_texts)}, config)
    await running.open()
    running.start()
    await until(lambda: "open" in sink.calls)
    harness.hub.publish("transcript/partial", Partial("A", 1, "canary", "en", "house", 0, "private"))
    harness.hub.publish("transcript/final", replace(final(1), profile="private"))
    harness.hub.publish("transcript/partial", Partial("A", 1, "It was", "en", "house", 0, "shared"))
    harness.hub.publish("state", {"profile": "private"})
    for number, profile in enumerate(("private", "shared", "gone", None, "private"), 1):
        await harness.transcripts.append(replace(final(number), profile=profile), NOON)
    await until(lambda: sink.got == [2, 3, 4])
    path = harness.positions / "sink.position"
    await until(lambda: final(5).id in path.read_text())
    await running.close()
    assert [getattr(payload, "text", payload) for payload, _ in sink.live] == ["It was", {"profile": "private"}]


async def test_a_parked_text_that_a_profile_keeps_from_the_sink_now_is_forgotten(harness: Harness) -> None:
    sink = Recording()
    sink.refuses_for_good = {1}
    kinds = {"sink": SinkKind(lambda _: {"sink": sink}, lambda one, _: one, follows_texts)}
    running = harness.publisher(kinds)
    await running.open()
    running.start()
    await harness.transcripts.append(replace(final(1), profile="private"), NOON)
    await until(lambda: running.parked(["sink"]))
    sink.refuses_for_good = set()
    await running.apply(Config(profiles={"private": ProfileSettings(sinks=())}))
    running.retry(["sink"])
    await until(lambda: not running.parked(["sink"]))
    await running.close()
    assert sink.got == []
