"""The order of the spool's system calls: an utterance is durable after its sound and its name are, never before."""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import SpoolError
from flowpi.spool import file_format
from flowpi.spool.spool import Spool
from tests.rig.calls import recorded
from tests.sound import ID, beginning, noise, spoken
from tests.waiting import until

SOUND = noise(0.5)
PART = PartId(ID)
FILE = f"{ID}.utt"
NEW = f"{ID}.utt.new"

PASSING = ["EIO", "EMFILE", "ENFILE", "ENOMEM", "EACCES", "EPERM", "ESTALE", "EINTR", "ETIMEDOUT", "EUCLEAN"]
"""Errors that may pass, and do not lie in the file."""


def files(spool: Spool) -> list[str]:
    return sorted(os.listdir(spool.directory))


def holds(spool: Spool, pcm: bytes) -> bool:
    """Whether the spool holds `pcm` and nothing else, marked as whole."""
    kept = spool.load(PART)
    return kept is not None and kept.read(0, kept.length) == pcm and not kept.partial


async def growing(spool: Spool, name: str = FILE) -> "tuple[Utterance, asyncio.Task[None]]":
    """Return an utterance whose first piece is in its file, and the task that keeps it."""
    utterance = beginning()
    keeping = asyncio.create_task(spool.keep(utterance))
    utterance.append(SOUND)
    await until(lambda: name in files(spool) and (spool.directory / name).stat().st_size > len(SOUND))
    return utterance, keeping


async def is_refused(spool: Spool, utterance: Utterance) -> None:
    """Check that keeping an utterance fails, and that it is not reported as durable."""
    with pytest.raises(SpoolError):
        await spool.keep(utterance)
    assert utterance.durable is not None
    assert utterance.durable.result() is False
    utterance.durable = None


def eio() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


def failing_at(failing: str) -> Callable[[str], None]:
    def fails(call: str) -> None:
        if call == failing:
            raise eio()

    return fails


class TestOrder:
    async def test_the_sound_then_the_name_and_only_then_it_is_durable(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        utterance = spoken(SOUND)
        durable_before: list[bool] = []
        calls = recorded(
            monkeypatch, lambda call: durable_before.append(utterance.durable is None or utterance.durable.done())
        )
        await spool.keep(utterance)
        assert calls == [f"delete {NEW}", f"make {FILE}", f"write {FILE}", f"sync {FILE}", "sync spool"]
        assert not any(durable_before)
        assert utterance.durable is not None
        assert utterance.durable.result() is True

    async def test_each_further_piece_is_synced_without_the_name(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = recorded(monkeypatch)
        utterance, keeping = await growing(spool)
        await until(lambda: "sync spool" in calls)
        for _ in range(2):
            calls.clear()
            utterance.append(SOUND)
            await until(lambda: len(calls) == 2)
            assert calls == [f"write {FILE}", f"sync {FILE}"]
        calls.clear()
        utterance.finish(0.0)
        await keeping
        assert calls == [f"write {FILE}", f"sync {FILE}"]

    async def test_a_file_that_takes_the_place_of_another_is_whole_before_and_its_name_synced_after(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spool.keep(spoken(SOUND[:3200]))
        utterance = spoken(SOUND)
        durable_before: list[bool] = []
        calls = recorded(
            monkeypatch, lambda call: durable_before.append(utterance.durable is None or utterance.durable.done())
        )
        await spool.keep(utterance)
        into_place = [f"rename {NEW}", "sync spool"]
        assert calls == [f"delete {NEW}", f"make {NEW}", f"write {NEW}", f"sync {NEW}", "sync spool", *into_place]
        assert not any(durable_before)

    async def test_audio_that_is_kept_is_on_the_disk_before_its_utterance_goes(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spool.keep(spoken(SOUND))
        calls = recorded(monkeypatch)
        await spool.remove(PART, keep_audio=True)
        wav = f"{ID}.wav"
        written = [f"delete {wav}.new", f"make {wav}.new", f"sync {wav}.new", f"rename {wav}.new", "sync kept"]
        assert calls == ["make kept", "sync spool", *written, f"delete {FILE}"]

    @pytest.mark.parametrize("cancelled", [False, True])
    async def test_a_deletion_is_synced_where_no_text_tells_of_it(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, cancelled: bool
    ) -> None:
        await spool.keep(spoken(SOUND))
        calls = recorded(monkeypatch)
        await spool.remove(PART, cancelled=cancelled)
        assert calls == [f"delete {FILE}", *(["sync spool"] if cancelled else [])]

    async def test_what_is_brought_back_stays_there(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        await spool.keep(spoken(SOUND))
        (spool.directory / "quarantine").mkdir()
        (spool.directory / FILE).rename(spool.directory / "quarantine" / FILE)
        calls = recorded(monkeypatch)
        assert spool.restore(f"quarantine/{FILE}") == PART
        assert calls == [f"rename {FILE}", "sync spool"]


class TestSyncFails:
    @pytest.mark.parametrize("failing", [f"sync {FILE}", "sync spool"])
    async def test_of_a_new_file_nothing_stays(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        utterance = spoken(SOUND)

        with monkeypatch.context() as disk:
            recorded(disk, failing_at(failing))
            await is_refused(spool, utterance)
        assert files(spool) == []
        await spool.keep(utterance)
        assert holds(spool, SOUND)

    @pytest.mark.parametrize("failing", [f"sync {NEW}", "sync spool", f"rename {NEW}"])
    async def test_what_an_earlier_try_left_stays(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, failing: str
    ) -> None:
        await spool.keep(spoken(SOUND[:3200]))
        utterance = spoken(SOUND)

        with monkeypatch.context() as disk:
            recorded(disk, failing_at(failing))
            await is_refused(spool, utterance)
        assert files(spool) == [FILE]
        assert holds(spool, SOUND[:3200])
        await spool.keep(utterance)
        assert holds(spool, SOUND)

    async def test_after_it_took_its_place_it_is_not_durable_before_the_name_is(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await spool.keep(spoken(SOUND[:3200]))
        utterance = spoken(SOUND)
        calls: list[str] = []

        def fails(call: str) -> None:
            if call == "sync spool" and f"rename {NEW}" in calls:
                raise eio()

        with monkeypatch.context() as disk:
            calls = recorded(disk, fails)
            await is_refused(spool, utterance)
        assert files(spool) == [FILE]
        assert holds(spool, SOUND)


async def ends_without_a_file(utterance: Utterance, keeping: "asyncio.Task[None]") -> None:
    """The utterance ends, and its writer finds that its file is gone. It may be kept anew."""
    utterance.finish(0.0)
    with pytest.raises(SpoolError, match="deleted while it was written"):
        await keeping
    assert utterance.durable is not None
    assert utterance.durable.result() is False
    utterance.durable = None


class TestTakenAwayWhileItIsWritten:
    async def test_the_file(self, spool: Spool) -> None:
        utterance, keeping = await growing(spool)
        (spool.directory / FILE).unlink()
        await ends_without_a_file(utterance, keeping)
        await spool.keep(utterance)
        assert holds(spool, SOUND)

    async def test_the_file_before_its_first_sync(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        utterance = spoken(SOUND)

        def deletes(call: str) -> None:
            if call == f"sync {FILE}":
                (spool.directory / FILE).unlink()

        with monkeypatch.context() as disk:
            recorded(disk, deletes)
            await is_refused(spool, utterance)
        await spool.keep(utterance)
        assert holds(spool, SOUND)

    @pytest.mark.parametrize("replaced", [False, True])
    async def test_the_directory(self, spool: Spool, replaced: bool) -> None:
        """The directory is moved elsewhere: the file in it still has its name."""
        utterance, keeping = await growing(spool)
        spool.directory.rename(spool.directory.with_name("away"))
        if replaced:
            spool.directory.mkdir()
        await ends_without_a_file(utterance, keeping)
        await spool.keep(utterance)
        assert files(spool) == [FILE]
        assert holds(spool, SOUND)

    async def test_a_directory_that_took_its_place_loses_no_file_of_that_name(self, spool: Spool) -> None:
        """After a failure our own file is deleted, not the one of that name in the new directory."""
        away = spool.directory.with_name("away")
        await spool.keep(spoken(SOUND[:3200]))
        utterance, keeping = await growing(spool, NEW)
        spool.directory.rename(away)
        shutil.copytree(away, spool.directory)
        await ends_without_a_file(utterance, keeping)
        assert holds(spool, SOUND[:3200])


class TestClose:
    async def test_of_a_file_that_is_not_whole_the_old_one_stays_alone(self, spool: Spool) -> None:
        await spool.keep(spoken(SOUND[:3200]))
        _, keeping = await growing(spool, NEW)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert files(spool) == [FILE]
        assert holds(spool, SOUND[:3200])

    async def test_the_first_file_stays_as_far_as_it_got(self, spool: Spool) -> None:
        _, keeping = await growing(spool)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert files(spool) == [FILE]
        kept = spool.load(PART)
        assert kept is not None
        assert kept.read(0, kept.length) == SOUND
        assert kept.partial


class TestTroubleThatPasses:
    @pytest.mark.parametrize("code", PASSING)
    @pytest.mark.parametrize("step", ["opened", "read"])
    async def test_a_file_that_cannot_be_read_now_stays_in_its_place(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch, step: str, code: str
    ) -> None:
        await spool.keep(spoken(SOUND))
        really_open = os.open

        def fails(path: Any, *arguments: Any, **options: Any) -> int:
            if path == FILE:
                raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
            return really_open(path, *arguments, **options)

        with monkeypatch.context() as disk:
            if step == "opened":
                disk.setattr(os, "open", fails)
            else:
                disk.setattr(file_format, "read", lambda file, part, **options: fails(FILE))
            with pytest.raises(SpoolError, match=r"cannot be read \("):
                spool.load(PART)
        assert files(spool) == [FILE]
        assert holds(spool, SOUND)
