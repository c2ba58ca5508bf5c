import asyncio
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.core.errors import AlreadyRunning, SpoolError
from flowpi.core.hints import Hints, TargetApp
from flowpi.spool import file_format
from flowpi.spool.file_format import Ending, parse
from flowpi.spool.spool import Spool
from tests.sound import ID, beginning, noise, spoken, ulid
from tests.spool.recorder import said
from tests.waiting import PATIENCE_S, until

SOUND = noise(0.5)
PART = PartId(ID)
MEND = "make it writable for the daemon's user, or set spool.directory"


def file_of(spool: Spool, utterance_id: str = ID) -> Path:
    return spool.directory / f"{utterance_id}.utt"


def quarantined(spool: Spool) -> list[str]:
    return sorted(path.name for path in (spool.directory / "quarantine").glob("*"))


async def recording(spool: Spool, utterance: Utterance, pcm: bytes) -> "asyncio.Task[None]":
    """Begin to keep an utterance, and return the task when `pcm` is in its file; the user is still speaking."""
    keeping = asyncio.create_task(spool.keep(utterance))
    utterance.append(pcm)
    await until(lambda: file_of(spool).exists() and file_of(spool).stat().st_size > len(pcm))
    return keeping


def other_process(code: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run code in another process, with `sys`, `asyncio`, `Path`, `Spool`, `spoken` and `noise` imported."""
    prelude = """
import asyncio, os, resource, sys
from pathlib import Path
from flowpi.core.errors import FlowpiError
from flowpi.spool.spool import Spool
from tests.sound import noise, spoken
"""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", prelude + code, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip


class TestRoundTrip:
    async def test_whole(self, spool: Spool) -> None:
        about = About(ID, 1_700_000_000.25, part=2, hints=Hints(app=TargetApp(name="Notes")))
        utterance = Utterance(about, pcm=SOUND, complete=True)
        utterance.lost_frames = 7
        await spool.keep(utterance)
        kept = spool.load(utterance.part_id)
        assert kept is not None
        assert kept.about == about
        assert kept.read(0, kept.length) == SOUND
        assert kept.lost_frames == 7
        assert (kept.complete, kept.partial) == (True, False)

    async def test_it_follows_the_speech(self, spool: Spool) -> None:
        utterance = beginning()
        keeping = await recording(spool, utterance, SOUND)
        half = spool.load(PART)
        assert half is not None
        assert half.read(0, half.length) == SOUND
        assert half.partial
        assert utterance.durable is not None
        assert not utterance.durable.done()
        utterance.append(SOUND[:100])
        utterance.finish(1.0)
        await keeping
        whole = spool.load(PART)
        assert whole is not None
        assert whole.read(0, whole.length) == SOUND + SOUND[:100]
        assert not whole.partial
        assert utterance.durable.result() is True

    @pytest.mark.parametrize("before", ["german", None])
    @pytest.mark.parametrize("after", ["code", None])
    async def test_sound_waits_for_no_choice_of_a_profile(
        self, spool: Spool, before: str | None, after: str | None
    ) -> None:
        utterance = Utterance(About(ID, 1_700_000_000.0, profile=before), choosing=True)
        keeping = await recording(spool, utterance, SOUND)
        half = spool.load(PART)
        assert half is not None
        assert (half.about.profile, half.length, half.damaged) == (before, len(SOUND), False)
        utterance.choose(after)
        utterance.append(SOUND)
        await until(lambda: file_of(spool).stat().st_size > 2 * len(SOUND))
        half = spool.load(PART)
        assert half is not None
        assert (half.about, half.length, half.damaged) == (utterance.about, 2 * len(SOUND), False)
        utterance.finish(1.0)
        await keeping
        whole = spool.load(PART)
        assert whole is not None
        assert (whole.about.profile, whole.partial, whole.damaged) == (after, False, False)

    async def test_a_profile_that_is_chosen_before_the_first_sound_is_in_the_header(self, spool: Spool) -> None:
        utterance = Utterance(About(ID, 1_700_000_000.0, profile="german"), choosing=True)
        keeping = asyncio.create_task(spool.keep(utterance))
        await asyncio.sleep(0)
        utterance.choose("code")
        utterance.append(SOUND)
        utterance.finish(1.0)
        await keeping
        assert b"german" not in file_of(spool).read_bytes()
        whole = spool.load(PART)
        assert whole is not None
        assert whole.about.profile == "code"

    async def test_nothing_was_heard(self, spool: Spool) -> None:
        await spool.keep(spoken(b""))
        kept = spool.load(PART)
        assert kept is not None
        assert (kept.length, kept.partial) == (0, False)

    async def test_once_durable_another_process_reads_it_whole(self, spool: Spool) -> None:
        utterance = spoken(SOUND)
        keeping = asyncio.create_task(spool.keep(utterance))
        await until(lambda: utterance.durable)
        assert utterance.durable is not None
        assert await utterance.durable
        done = other_process("sys.stdout.buffer.write(Path(sys.argv[1]).read_bytes().hex().encode())", file_of(spool))
        await keeping
        kept = parse(bytes.fromhex(done.stdout), PART)
        assert kept is not None
        assert kept.read(0, kept.length) == SOUND
        assert not kept.partial

    async def test_only_its_user_can_read_it(self, spool: Spool) -> None:
        await spool.keep(spoken(SOUND))
        assert file_of(spool).stat().st_mode & 0o777 == 0o600
        assert spool.directory.stat().st_mode & 0o777 == 0o700

    async def test_the_ids_are_those_of_utterances_oldest_first(self, spool: Spool) -> None:
        for number in (3, 1, 2):
            await spool.keep(spoken(b"ab", ulid(number)))
        (spool.directory / "notes.utt").touch()
        (spool.directory / f"{ulid(4)}.wav").touch()
        spool.close()
        again = Spool(spool.directory)
        assert again.open() == [PartId(ulid(number)) for number in (1, 2, 3)]
        again.close()


class TestRemove:
    async def test_it_is_gone_and_once_more_is_harmless(self, spool: Spool) -> None:
        await spool.keep(spoken(SOUND))
        await spool.remove(PART)
        await spool.remove(PART)
        assert spool.load(PART) is None
        assert not file_of(spool).exists()

    async def test_the_sound_can_be_kept_as_a_wav(self, spool: Spool) -> None:
        await spool.keep(spoken(SOUND))
        await spool.remove(PART, keep_audio=True)
        assert not file_of(spool).exists()
        assert (spool.directory / "kept" / f"{ID}.wav").read_bytes()[44:] == SOUND

    async def test_what_cannot_be_deleted_is_said(self, spool: Spool) -> None:
        file_of(spool).mkdir()
        (file_of(spool) / "something").touch()
        with pytest.raises(SpoolError, match=rf"^'.*{ID}\.utt' cannot be deleted \(Directory not empty\): "):
            await spool.remove(PART)


def whole_file() -> bytes:
    async def keep() -> bytes:
        with tempfile.TemporaryDirectory() as directory:
            spool = Spool(Path(directory), sync_s=0.1)
            spool.open()
            await spool.keep(spoken(SOUND))
            data = file_of(spool).read_bytes()
            spool.close()
            return data

    return asyncio.run(keep())


WHOLE = whole_file()
NEWER = WHOLE.replace(b"utterance 2", b"utterance 3", 1)


class TestForeignFiles:
    def test_a_link_is_not_followed(self, spool: Spool, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").write_bytes(WHOLE)
        file_of(spool).symlink_to(tmp_path / "elsewhere")
        assert spool.load(PART) is None
        assert quarantined(spool) == [f"{ID}.utt"]
        assert (tmp_path / "elsewhere").read_bytes() == WHOLE

    async def test_a_link_is_not_written_through(self, spool: Spool, tmp_path: Path) -> None:
        file_of(spool).symlink_to(tmp_path / "elsewhere")
        await spool.keep(spoken(SOUND))
        assert not (tmp_path / "elsewhere").exists()
        assert not file_of(spool).is_symlink()

    @pytest.mark.parametrize("held_open", [False, True])
    def test_a_fifo_does_not_hang(self, spool: Spool, held_open: bool) -> None:
        os.mkfifo(file_of(spool))
        handle = os.open(file_of(spool), os.O_RDWR) if held_open else None
        assert spool.load(PART) is None
        assert quarantined(spool) == [f"{ID}.utt"]
        if handle is not None:
            os.close(handle)

    def test_a_directory(self, spool: Spool) -> None:
        file_of(spool).mkdir()
        before = len(os.listdir("/proc/self/fd"))
        assert spool.load(PART) is None
        assert quarantined(spool) == [f"{ID}.utt"]
        assert len(os.listdir("/proc/self/fd")) <= before

    @pytest.mark.parametrize("content", [b"", b"flowpi utterance 2\n", b"RIFF"])
    def test_no_utterance(self, spool: Spool, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
        file_of(spool).write_bytes(content)
        assert spool.load(PART) is None
        assert quarantined(spool) == [f"{ID}.utt"]
        assert caplog.messages == [f"{ID}.utt is unreadable (not an utterance) and goes to quarantine/"]

    @pytest.mark.promise("P26")
    def test_a_file_of_a_newer_version_waits_for_that(self, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
        file_of(spool).write_bytes(NEWER)
        assert spool.load(PART) is None
        assert quarantined(spool) == []
        assert file_of(spool).read_bytes() == NEWER
        assert caplog.messages == [f"{ID}.utt waits for a newer flowpi (version 3)"]
        assert [(entry.part, entry.state) for entry in spool.entries()] == [(PART, "newer")]

    def test_an_utterance_under_another_name(self, spool: Spool) -> None:
        file_of(spool, ulid(5)).write_bytes(WHOLE)
        assert spool.load(PartId(ulid(5))) is None
        assert quarantined(spool) == [f"{ulid(5)}.utt"]

    def test_where_there_can_be_no_quarantine_it_stays(self, spool: Spool) -> None:
        (spool.directory / "quarantine").touch()
        file_of(spool).touch()
        assert spool.load(PART) is None
        assert file_of(spool).exists()

    def test_what_is_not_there_is_none(self, spool: Spool) -> None:
        assert spool.load(PART) is None
        assert quarantined(spool) == []


class TestDirectory:
    def test_only_one_daemon_has_it(self, spool: Spool) -> None:
        code = """
try:
    Spool(Path(sys.argv[1])).open()
except FlowpiError as error:
    print(error)
    sys.exit(error.exit_code)
"""
        done = other_process(code, spool.directory)
        assert (done.returncode, done.stderr) == (73, "")
        assert done.stdout == f"another flowpi has the spool '{spool.directory}': stop it, or set spool.directory\n"

    def test_the_lock_is_given_back(self, spool: Spool) -> None:
        with pytest.raises(AlreadyRunning):
            Spool(spool.directory).open()
        spool.close()
        again = Spool(spool.directory)
        again.open()
        again.close()

    def test_where_it_cannot_be_made_that_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        spool = Spool(tmp_path / "file" / "spool")
        with pytest.raises(SpoolError, match=r"^the spool '.*' cannot be used \(Not a directory\): set spool.dir"):
            spool.open()

    def test_where_it_cannot_be_written_that_is_said(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        code = """
if os.geteuid() == 0:
    os.setuid(65534)
try:
    Spool(Path(sys.argv[1])).open()
except FlowpiError as error:
    print(error)
"""
        done = other_process(code, tmp_path)
        assert done.stderr == ""
        assert done.stdout == f"the spool '{tmp_path}' cannot be used (Permission denied): {MEND}\n"


class TestFullDisk:
    """A limit on the size of files, which every user can set, stands in for a small disk."""

    CODE = """
async def main():
    spool = Spool(Path(sys.argv[1]), sync_s=0.1)
    spool.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    utterance = spoken(noise(0.5))
    try:
        await spool.keep(utterance)
    except FlowpiError as error:
        print(error)
    print(utterance.durable.result(), utterance.length == len(noise(0.5)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if sys.argv[3:]:
        await spool.remove(utterance.id)
    spool.close()
asyncio.run(main())
"""

    @pytest.mark.parametrize("size", [0, 10, 60, 5000, 10_000, len(WHOLE) - 1])
    def test_it_is_said_and_never_called_durable(self, tmp_path: Path, size: int) -> None:
        done = other_process(self.CODE, tmp_path, str(size))
        assert done.stderr == ""
        assert done.stdout == (
            f"the spool '{tmp_path}' does not take the audio (File too large): check the disk, and see the journal\n"
            "False True\n"
        )
        assert os.listdir(tmp_path) == []  # nothing in the file was durable

    def test_what_is_left_can_be_removed(self, tmp_path: Path) -> None:
        done = other_process(self.CODE, tmp_path, "5000", "and remove it")
        assert done.stderr == ""
        assert os.listdir(tmp_path) == []


async def test_a_keep_that_is_cancelled_says_that_it_is_not_durable(spool: Spool) -> None:
    utterance = beginning()
    keeping = await recording(spool, utterance, SOUND)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert utterance.durable is not None
    assert utterance.durable.result() is False
    kept = spool.load(PART)
    assert kept is not None
    assert kept.partial


def test_killed_at_any_moment_what_was_called_durable_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.spool.recorder", str(tmp_path), "40"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stderr == ""
    durable = set(done.stdout.split())
    spool = Spool(tmp_path)
    kept = spool.open()
    assert len(durable) >= 40
    assert durable <= set(map(str, kept))
    for part in kept:
        utterance_id = part.utterance
        utterance = spool.load(part)
        if utterance is None:  # killed within the header
            assert utterance_id not in durable
            continue
        pcm = utterance.read(0, utterance.length)
        assert said(utterance_id).startswith(pcm)
        assert utterance_id not in durable or (pcm == said(utterance_id) and not utterance.partial)
    spool.close()


class TestPassingTrouble:
    def test_a_file_that_cannot_be_opened_now_stays_where_it_is(self, spool: Spool) -> None:
        file_of(spool).write_bytes(WHOLE)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(map(int, os.listdir("/proc/self/fd"))) + 1
        spare = [os.dup(0) for _ in range(used)]  # no descriptor below the limit is free
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            with pytest.raises(SpoolError, match="Too many open files"):
                spool.load(PART)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for handle in spare:
                os.close(handle)
        assert spool.load(PART) is not None

    async def test_every_read_of_the_microphone_is_enough_for_a_record(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "eager", sync_s=0)
        spool.open()
        await spool.keep(spoken(SOUND))
        spool.close()
        assert (spool.directory / f"{ID}.utt").stat().st_size < len(SOUND) * 1.05


class TestDamagedInTheMiddle:
    """A file that can be read only in part: that part is delivered, and the file is never deleted."""

    @staticmethod
    def broken(spool: Spool, *places: int) -> None:
        pieces = (file_format.audio(at // 2, SOUND[at : at + 3200]) for at in range(0, len(SOUND), 3200))
        end = file_format.ending(Ending(len(SOUND) // 2))
        data = bytearray(file_format.header(About(ID, 1.0)) + b"".join(pieces) + end)
        for at in places:
            data[at] ^= 1
        file_of(spool).write_bytes(data)

    async def test_it_is_put_aside_and_not_deleted(self, spool: Spool) -> None:
        self.broken(spool, 5000)
        utterance = spool.load(PART)
        assert utterance is not None
        assert utterance.partial
        await spool.remove(PART)
        assert quarantined(spool) == [f"{ID}.utt.delivered"]

    async def test_unless_its_owner_cancels_it(self, spool: Spool) -> None:
        self.broken(spool, 5000)
        spool.load(PART)
        await spool.remove(PART, cancelled=True)
        assert quarantined(spool) == []
        assert not file_of(spool).exists()

    def test_where_no_sound_can_be_read_there_is_nothing_to_deliver(self, spool: Spool) -> None:
        self.broken(spool, 40, *range(200, len(SOUND), 3000))
        assert spool.load(PART) is None
        assert quarantined(spool) == [f"{ID}.utt"]
