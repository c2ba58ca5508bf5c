"""The contract of sinks: what the publisher promises each of them, and how it protects each from the others.

`KINDS` has the rows of `SINKS`, each with a destination that tests control, and a sink that only records.
"""

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.mqtt import MqttSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.core.faults import kind_of
from flowpi.host.folders import replace_file
from flowpi.publish import feeder, publisher, webhook
from flowpi.publish.files import Transcripts
from flowpi.publish.hub import Hub, Message
from flowpi.publish.messages import Final
from flowpi.publish.publisher import Publisher
from flowpi.publish.sinks import SINKS, Sink, SinkKind
from tests.publish.mqtt.broker import shared_broker
from tests.publish.test_files import DAY_S, NOON, final
from tests.publish.webhook.receiver import SECRET, Receiver
from tests.waiting import until


class Recording:
    """A sink that records what it receives, with levers."""

    def __init__(self, filters: Sequence[str] = (), *, durable: bool = True) -> None:
        self.filters = filters
        self.durable = durable
        self.got: list[int] = []
        self.live: list[Any] = []
        self.calls: list[str] = []
        self.refuses_open = False
        self.refuses_write = False
        self.refuses_for_good: set[int] = set()
        """The numbers of the texts that it never accepts."""
        self.fails_at: set[int] = set()
        """The numbers of the texts at which it fails."""
        self.loses = False
        self.hangs_at_close = False
        self.free = asyncio.Event()
        """While it is cleared, the sink blocks at each text."""
        self.free.set()
        self.before_return: Callable[[], None] = lambda: None

    async def open(self) -> None:
        self.calls.append("open")
        if self.refuses_open:
            raise SinkError("nobody is there", "start it")

    def receive(self, message: Message, retained: bool) -> None:
        if self.loses:
            raise SinkError("the connection broke")
        self.live.append((message.payload, retained))

    async def write(self, final: Final) -> None:
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        if int(final.id[-3:]) in self.fails_at:
            raise SinkError("it broke at this one")
        if int(final.id[-3:]) in self.refuses_for_good:
            raise SinkRefusedError("it is too long")
        self.got.append(int(final.id[-3:]))
        self.before_return()

    async def close(self) -> None:
        self.calls.append("close")
        if self.hangs_at_close:
            await asyncio.Event().wait()


class Brokered(Recording):
    """The sink of MQTT with a real broker. `got`: what the broker has acknowledged."""

    numbers = itertools.count()

    def __init__(self) -> None:
        from flowpi.publish.mqtt.sink import MqttSink

        super().__init__()
        self.sink = MqttSink(MqttSettings(shared_broker().url), f"desk-{next(self.numbers)}")
        self.filters = self.sink.filters

    async def open(self) -> None:
        await super().open()
        await self.sink.open()

    def receive(self, message: Message, retained: bool) -> None:
        super().receive(message, retained)
        self.sink.receive(message, retained)

    async def write(self, final: Final) -> None:
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        await self.sink.write(final)
        self.got.append(int(final.id[-3:]))
        self.before_return()

    async def wait_lost(self) -> None:
        await self.sink.wait_lost()

    async def close(self) -> None:
        await self.sink.close()
        await super().close()


class Hooked(Recording):
    """The sink of a webhook with a real receiver. `got`: what the receiver accepted, before `write` returned."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver = Receiver(SECRET)
        self._sink: Sink | None = None

    async def open(self) -> None:
        await super().open()
        await self._receiver.start()
        if self._sink is None:
            self._sink = webhook.make(WebhookSettings(self._receiver.url, Secret("literal", SECRET)), None)
        await self._sink.open()

    async def write(self, final: Final) -> None:
        assert self._sink is not None
        self.calls.append("write")
        await self.free.wait()
        if self.refuses_write:
            raise SinkError("it is full", "make room")
        await self._sink.write(final)
        self.got = self._receiver.texts
        self.before_return()

    async def close(self) -> None:
        if self._sink is not None:
            await self._sink.close()
        await self._receiver.stop()
        await super().close()


MakeSink = Callable[[], Recording]
KINDS: dict[str, MakeSink] = {"recording": Recording, "mqtt": Brokered, "webhook": Hooked}
"""The destination of each kind. A new row of `SINKS` adds one here, with the levers of `Recording`."""


def test_each_row_is_held_to_the_contract() -> None:
    assert set(SINKS) <= set(KINDS)


@pytest.fixture(params=sorted(KINDS))
def make(request: pytest.FixtureRequest) -> MakeSink:
    return KINDS[request.param]


def made(sink: Any, command: object) -> Any:
    return sink() if callable(sink) else sink


class Harness:
    """A hub, the faults that stand, and one run of a publisher after the other."""

    def __init__(self, directory: Path) -> None:
        self.transcripts = Transcripts(directory / "transcripts", keep_days=30)
        self.transcripts.open()
        self.positions = directory / "sinks"
        self.hub = Hub()
        self.faults: dict[str, str] = {}

    @asynccontextmanager
    async def run(self, **sinks: Sink | Callable[[], Sink] | None) -> AsyncIterator[Publisher]:
        """Run a publisher with these sinks, or what makes them; None: not configured."""
        running = Publisher(
            Config(),
            self.hub,
            self.transcripts,
            self.positions,
            fault=self.faults.__setitem__,
            clear=lambda code: self.faults.pop(code, None),
            kinds={
                name: SinkKind(lambda _, one={name: sink}: one, made)  # type: ignore[misc]
                for name, sink in sinks.items()
                if sink is not None
            },
        )
        await running.open()
        try:
            yield running
        finally:
            await running.close()

    async def say(self, *numbers: int, unix_s: float = NOON) -> None:
        for number in numbers:
            await self.transcripts.append(final(number), unix_s)

    async def begin(self, make: MakeSink) -> None:
        """Start the publisher for the first time, so that it writes its position."""
        async with self.run(sink=make()):
            await until(lambda: (self.positions / "sink.position").exists())


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(feeder, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(feeder, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(feeder, "CLOSE_S", 0.1)
    monkeypatch.setattr(publisher, "NEWS_S", 3600.0)
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
        monkeypatch.setattr("flowpi.publish.cursor.replace_file", full)
        await harness.say(1, 2)
        await until(lambda: harness.faults)
        assert "No space left" in harness.faults["sink.sink"]
        monkeypatch.setattr("flowpi.publish.cursor.replace_file", replace_file)
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
async def test_the_stop_takes_no_longer_than_it_may(harness: Harness, make: MakeSink, lever: str) -> None:
    await harness.begin(make)
    sink = make()
    sink.hangs_at_close = lever == "hangs_at_close"
    if lever == "free":
        sink.free.clear()
    async with harness.run(sink=sink) as running:
        await harness.say(1)
        await until(lambda: "write" in sink.calls)
        started = asyncio.get_running_loop().time()
        await running.close()
        assert asyncio.get_running_loop().time() - started < 0.1 * 2 + 0.5
        assert sink.calls[-1] == "close"


async def test_a_text_that_is_being_written_at_the_stop_is_not_repeated(harness: Harness, make: MakeSink) -> None:
    await harness.begin(make)
    first, second = make(), make()
    first.free.clear()
    async with harness.run(sink=first) as running:
        await harness.say(1)
        await until(lambda: "write" in first.calls)
        closing = asyncio.create_task(running.close())
        await asyncio.sleep(0.01)
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
        "broken": SinkKind(lambda config: {"broken": True}, broken),
        "good": SinkKind(lambda config: {"good": sink}, lambda sink, _: sink),
    }
    running = Publisher(
        Config(),
        harness.hub,
        harness.transcripts,
        harness.positions,
        fault=harness.faults.__setitem__,
        clear=lambda code: harness.faults.pop(code, None),
        kinds=kinds,
    )
    await running.open()
    await until(lambda: sink.calls == ["open"])
    assert harness.faults == {"sink.broken": "No module named 'aiomqtt'"}
    await running.close()


async def test_a_reload_makes_a_sink_anew_whose_settings_changed(harness: Harness) -> None:
    sinks = {"one": Recording(), "two": Recording()}
    same = Recording(["state"], durable=False)
    running = Publisher(
        Config(device_id="one"),
        harness.hub,
        harness.transcripts,
        harness.positions,
        fault=harness.faults.__setitem__,
        clear=lambda code: harness.faults.pop(code, None),
        kinds={
            "changed": SinkKind(
                lambda config: {"changed": config.device_id} if config.device_id else {}, lambda name, _: sinks[name]
            ),
            "same": SinkKind(lambda config: {"same": "same"}, lambda settings, _: same),
        },
    )
    await running.open()
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
    assert not harness.faults
    assert same.calls == ["open"]
    await running.apply(Config())
    await running.close()
    assert sinks["two"].calls == ["open", "write", "close"]


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
