"""What is typed of what a daemon says, with a daemon and a computer that a test determines."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.config.keyboard import KeyboardSettings
from flowpi.core.errors import AlreadyRunning
from flowpi.core.typing.strokes import IDLE
from flowpi.host.logfields import MessageId
from flowpi.keyboard import attention, worker
from flowpi.keyboard import typist as typists
from flowpi.keyboard.layouts import layout
from flowpi.keyboard.marks import FILE, Marks
from flowpi.keyboard.typist import Typist
from flowpi.keyboard.worker import MOST_WAITING, Keyboard
from flowpi.peer.standing import Standing
from flowpi.publish.messages import TextId, Untyped, rfc3339
from tests.hook.scripted_daemon import ScriptedDaemon
from tests.keyboard.scripted_keyboard import ScriptedKeyboard
from tests.waiting import ticks, until

US = layout("us")
CHARS = {strokes[0]: char for char, strokes in US.table().items() if len(strokes) == 1}


def said(number: int, **more: Any) -> dict[str, Any]:
    """Return the members of a text that has just been made."""
    now = {"started_at": rfc3339(time.time() - 2.0), "duration_s": 1.5, "final_after_s": 0.5}
    return {"text": f"text {number}", "language": None, "backend": "cloud", **now, **more}


class Harness:
    def __init__(self, directory: Path) -> None:
        self.daemon = ScriptedDaemon(directory / "socket")
        self.computer = ScriptedKeyboard()
        self.directory = directory / "state"
        self.now = 1000.0
        self.standing = Standing()
        self.settings = KeyboardSettings(kind="hid", layout="us")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.marks = Marks(self.directory)
        self.typist = Typist(self.computer.open, 0.0)
        self.keyboard = Keyboard(
            self.settings,
            self.daemon.path,
            self.marks,
            self.standing,
            self.typist,
            lambda: US,
            passed_over=frozenset({"private"}),
            clock=lambda: self.now,
        )
        asked = len(self.daemon.asked)
        self._task = asyncio.create_task(self.keyboard.run())
        await until(lambda: len(self.daemon.asked) > asked)

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self.marks.close()

    def say(self, number: int, **more: Any) -> None:
        self.daemon.say(number, **said(number, **more))

    def state(self, name: str) -> None:
        self.daemon.publish("state", {"state": name})

    @property
    def typed(self) -> str:
        return "".join(CHARS[stroke] for stroke in self.computer.typed)

    @property
    def untyped(self) -> Untyped | None:
        return self.keyboard.report().untyped

    async def types(self, text: str) -> None:
        await until(lambda: self.typed == text and self.computer.down == IDLE and not self.typist.owes)


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    monkeypatch.setattr(typists, "LOOK_S", 0.01)
    monkeypatch.setattr(worker, "FIRST_WAIT_S", 0.001)
    one = Harness(tmp_path)
    await one.daemon.start()
    await one.start()
    yield one
    await one.stop()
    await one.daemon.crash()
    one.computer.close()


async def test_texts_are_typed_in_order_with_a_space_after_each(harness: Harness) -> None:
    harness.say(1)
    harness.say(2)
    await harness.types("text 1 text 2 ")
    assert harness.untyped is None
    assert harness.keyboard.report().state == "open"


async def test_a_text_is_marked_before_its_first_key_and_never_typed_twice(harness: Harness) -> None:
    marked: list[list[dict[str, Any]]] = []

    def look() -> None:
        marked.append(json.loads((harness.directory / FILE).read_text())["texts"])

    await harness.types("")
    await ticks()
    harness.computer.after[len(harness.computer.reports) + 4] = look  # three reports ask
    harness.say(1)
    await harness.types("text 1 ")
    assert marked == [[{"id": f"{1:026}", "part": 1}]]
    harness.say(1)
    harness.say(2)
    await harness.types("text 1 text 2 ")


async def test_nothing_is_replayed_after_a_restart_and_what_was_marked_stays_so(harness: Harness) -> None:
    harness.say(1)
    await harness.types("text 1 ")
    await harness.stop()
    harness.say(2)
    await harness.start()
    assert "after" not in harness.daemon.asked[-1]
    harness.say(1)  # the daemon was killed while it published it
    harness.say(3)
    await harness.types("text 1 text 3 ")


async def test_a_text_that_cannot_be_marked_is_not_typed(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(harness.marks._file, "write", full)
        harness.say(1)
        await until(lambda: harness.untyped == Untyped(f"{1:026}", 1, 0, 6, "disk"))
        assert harness.keyboard.report().state == "failing"
    harness.say(2)
    await harness.types("text 2 ")
    assert harness.keyboard.report().state == "open"


@pytest.mark.parametrize(
    "more",
    [{"late": True}, {"final_after_s": None}, {"started_at": rfc3339(time.time() - 60)}],
    ids=["late", "of_an_earlier_run", "old"],
)
async def test_a_late_text_is_not_typed_but_told(harness: Harness, more: dict[str, Any]) -> None:
    harness.say(1, **more)
    harness.say(2)
    await harness.types("text 2 ")
    assert harness.untyped == Untyped(f"{1:026}", 1, 0, 6, "late")


async def test_texts_of_a_profile_that_is_passed_over_are_not_typed(harness: Harness) -> None:
    harness.say(1, profile="private")
    harness.say(2, profile="mail")
    await harness.types("text 2 ")
    assert harness.untyped is None


async def test_a_press_while_a_text_is_typed_loses_neither(harness: Harness) -> None:
    """Nothing is typed while somebody speaks, for a minute; then the rest is, and the text of that dictation."""
    await harness.types("")
    harness.computer.after[len(harness.computer.reports) + 6] = lambda: harness.keyboard._hear(
        "state", {"state": "recording"}
    )
    harness.say(1)
    await until(lambda: harness.keyboard._attention.is_dictating and harness.computer.down == IDLE)
    await ticks()
    begun = harness.typed
    assert begun != "text 1 "
    assert "text 1 ".startswith(begun)
    harness.now += 60.0
    harness.say(2)
    await ticks()
    assert harness.typed == begun
    harness.state("finishing")
    await harness.types("text 1 text 2 ")
    assert harness.untyped is None


async def test_nothing_is_typed_while_a_button_is_held(harness: Harness) -> None:
    harness.daemon.publish("event/button", {"kind": "pressed"})
    harness.say(1)
    await until(lambda: len(harness.keyboard._waiting) == 1)
    await ticks()
    assert harness.typed == ""
    harness.daemon.publish("event/button", {"kind": "released"})
    await harness.types("text 1 ")


async def test_a_button_that_nobody_releases_keeps_texts_back_for_some_time_only(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload of the daemon, for example, may forget that a button is held."""
    harness.daemon.publish("event/button", {"kind": "pressed"})
    harness.say(1)
    await until(lambda: len(harness.keyboard._waiting) == 1)
    harness.now += attention.STUCK_S
    harness.say(2)
    await harness.types("text 2 ")
    assert harness.untyped == Untyped(f"{1:026}", 1, 0, 6, "late")
    monkeypatch.setattr(attention, "STUCK_S", 0.0)
    harness.daemon.publish("event/button", {"kind": "pressed"})
    harness.say(3)
    await harness.types("text 2 text 3 ")


async def test_a_text_that_waited_too_long_behind_another_is_not_typed(harness: Harness) -> None:
    await harness.types("")

    def grow_old() -> None:
        harness.now += 31.0

    harness.computer.after[len(harness.computer.reports) + 8] = grow_old
    harness.say(1)
    harness.say(2)
    await until(lambda: harness.untyped is not None)
    assert harness.typed == "text 1 "
    assert harness.untyped == Untyped(f"{2:026}", 1, 0, 6, "late")


async def test_cancel_stops_at_the_next_stroke_and_forgets_what_waits(harness: Harness) -> None:
    await harness.types("")
    harness.computer.after[len(harness.computer.reports) + 6] = harness.keyboard.cancel
    harness.say(1)
    harness.say(2)
    await until(lambda: harness.untyped is not None and harness.untyped.typed > 0)
    await ticks()
    assert harness.computer.down == IDLE
    assert harness.typed == "te"
    harness.say(3)
    await harness.types("tetext 3 ")


async def test_a_computer_that_falls_asleep_ends_the_text_and_gets_the_next_one_complete(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.types("")
    harness.computer.after[len(harness.computer.reports) + 7] = harness.computer.sleep
    harness.say(1)
    await until(lambda: harness.untyped is not None)
    assert harness.untyped is not None
    assert (harness.untyped.reason, harness.untyped.of) == ("asleep", 7)
    report = harness.keyboard.report()
    assert report.state == "failing"
    assert report.error is not None
    assert report.error.startswith("asleep: ")
    harness.computer.wake()
    await until(lambda: harness.keyboard.report().state == "open")
    before = harness.typed
    harness.say(2)
    await harness.types(before + "text 2 ")
    (told,) = [
        one for one in caplog.records if getattr(one, "journal", {}).get("MESSAGE_ID") == MessageId.NOT_TYPED.value
    ]
    assert told.levelno == logging.WARNING
    assert "text" not in told.getMessage()


async def test_without_a_cable_it_is_failing_from_the_start_until_there_is_one(harness: Harness) -> None:
    await harness.stop()
    harness.computer.pull_cable()
    await harness.start()
    await until(lambda: harness.keyboard.report().state == "failing")
    assert str(harness.keyboard.report().error).startswith("no_host: ")
    harness.say(1)
    await until(lambda: harness.untyped == Untyped(f"{1:026}", 1, 0, 7, "no_host"))
    harness.computer.plug_cable()
    await until(lambda: harness.keyboard.report().state == "open")
    harness.say(2)
    await harness.types("text 2 ")


async def test_a_daemon_that_is_killed_while_a_text_is_typed_costs_no_key(harness: Harness) -> None:
    await harness.types("")
    harness.computer.after[len(harness.computer.reports) + 6] = harness.daemon.drop
    harness.say(1)
    await harness.types("text 1 ")
    await until(lambda: harness.daemon.subscribed)
    harness.say(2)
    await harness.types("text 1 text 2 ")


async def test_a_device_that_is_back_ends_the_fault_without_a_text(harness: Harness) -> None:
    await harness.types("")
    harness.computer.present = False
    harness.say(1)
    await until(lambda: harness.untyped is not None and harness.untyped.reason == "no_host")
    assert harness.keyboard.report().state == "failing"
    harness.computer.sleep()  # it takes two reports, which looks like a release
    harness.computer.present = True
    await until(lambda: str(harness.keyboard.report().error).startswith("asleep: "))
    harness.computer.wake()
    await until(lambda: harness.keyboard.report().state == "open")
    assert harness.typed == ""


async def test_a_text_that_is_too_long_is_not_typed_but_told(harness: Harness) -> None:
    harness.say(1, text="a" * (worker.MOST_CHARACTERS + 1))
    harness.say(2)
    await harness.types("text 2 ")
    assert harness.untyped == Untyped(f"{1:026}", 1, 0, worker.MOST_CHARACTERS + 1, "long")


async def test_what_is_no_text_of_this_version_ends_nothing(harness: Harness) -> None:
    harness.daemon.publish("transcript/final", {"id": 1})
    harness.say(2)
    await harness.types("text 2 ")


async def test_only_so_many_wait(harness: Harness) -> None:
    harness.state("recording")
    for number in range(1, MOST_WAITING + 2):
        harness.say(number)
    await until(lambda: harness.untyped is not None)
    assert harness.untyped == Untyped(f"{MOST_WAITING + 1:026}", 1, 0, len(f"text {MOST_WAITING + 1}"), "full")
    assert len(harness.keyboard._waiting) == MOST_WAITING


async def test_with_caps_lock_on_the_letters_are_the_same(harness: Harness) -> None:
    harness.computer.caps = True
    harness.say(1, text="Ab")
    await until(lambda: len(harness.computer.typed) == 3)
    table = {strokes[0]: char for char, strokes in US.table(caps_lock=True).items()}
    assert "".join(table[stroke] for stroke in harness.computer.typed) == "Ab "
    assert harness.keyboard.report().caps_lock


async def test_a_second_one_on_the_same_directory_is_refused(harness: Harness) -> None:
    with pytest.raises(AlreadyRunning):
        Marks(harness.directory)


async def test_a_mark_is_known_for_some_time(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    for number in range(300):
        await marks.add(TextId(f"{number:026}", 1))
    assert marks.has(TextId(f"{299:026}", 1))
    assert not marks.has(TextId(f"{0:026}", 1))
    marks.close()
