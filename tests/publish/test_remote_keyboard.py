"""What the daemon knows of the keyboard: no texts wait for it, it has a fault of its own, and a person can stop it."""

import asyncio
from pathlib import Path

import pytest
from msgspec import UNSET

from flowpi.appliance.sink_requests import SinkRequests
from flowpi.config.command import CommandSettings
from flowpi.config.keyboard import KeyboardSettings
from flowpi.config.schema import Config, PublishSettings
from flowpi.publish import publisher
from flowpi.publish.messages import SinkReport, Untyped
from tests.publish.test_files import final
from tests.publish.test_remote import Daemon
from tests.waiting import until

KEYBOARD = KeyboardSettings(kind="uinput", layout="us")


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    monkeypatch.setattr(publisher, "NEWS_S", 0.0)
    return Daemon(tmp_path)


def config(command: CommandSettings | None = None) -> Config:
    return Config(publish=PublishSettings(keyboard=KEYBOARD, command=command or CommandSettings()))


async def test_no_text_is_kept_for_it(daemon: Daemon) -> None:
    async with daemon.run(config()) as running:
        await daemon.say(1)
        assert len(await daemon.expire(40)) == 0
        (shown,) = await running.sinks()
        assert (shown.name, shown.last, shown.waiting, shown.untyped) == ("keyboard", None, 0, UNSET)
    daemon.transcripts.close()


async def test_its_fault_is_not_that_of_other_sinks_and_what_was_not_typed_is_shown(daemon: Daemon) -> None:
    async with daemon.run(config()) as running:
        remote = running.remote("keyboard")
        assert remote is not None
        untyped = Untyped(final(1).id, 1, 3, 40, "asleep")
        await remote.report(
            SinkReport("keyboard", "failing", error="asleep: it sleeps", untyped=untyped, caps_lock=True)
        )
        assert daemon.faults == {"keyboard": "asleep: it sleeps"}
        (shown,) = await running.sinks()
        assert (shown.untyped, shown.caps_lock) == (untyped, True)
        await remote.report(SinkReport("keyboard", "open", untyped=untyped))
        assert daemon.faults == {}
        await remote.report(SinkReport("keyboard", "failing", error="no_host: no cable"))
        await running.apply(Config())
        assert daemon.faults == {}
    daemon.transcripts.close()


async def test_record_cancel_reaches_the_keyboard_and_not_the_command(daemon: Daemon) -> None:
    async with daemon.run(config(CommandSettings(run=("/bin/true",)))) as running:
        waiting = {}
        for name in ("keyboard", "command"):
            remote = running.remote(name)
            assert remote is not None
            await remote.report(SinkReport(name, "open"))
            waiting[name] = asyncio.create_task(remote.wait())
        await until(lambda: all(running.remote(name)._waiting for name in waiting))  # type: ignore[union-attr]
        SinkRequests(running).cancel()
        assert await waiting["keyboard"] == "cancel"
        assert not waiting["command"].done()
        waiting["command"].cancel()
        await asyncio.gather(waiting["command"], return_exceptions=True)
    daemon.transcripts.close()
