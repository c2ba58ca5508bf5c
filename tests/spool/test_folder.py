"""What lies in the spool besides the utterances that wait: its size, its age, `kept/` and the quarantine."""

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.audio.utterance import PartId
from flowpi.core.errors import AlreadyRunning, CannotCreateError, DataError, SpoolError
from flowpi.core.retention import DAY_S
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.spool import AudioNotKept, Spool
from tests.sound import beginning, noise, spoken, ulid
from tests.waiting import until

SOUND = noise(0.5)
FILE_BYTES = 16_161
"""The size of the file of an utterance with that much sound."""

ONE, TWO, THREE = (PartId(ulid(number)) for number in (1, 2, 3))
Make = Callable[..., Spool]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Yield `make(**options)`, which returns an open spool on `tmp_path / "spool"`."""
    made: list[Spool] = []

    def make(**options: object) -> Spool:
        spool = Spool(tmp_path / "spool", sync_s=0.1, **options)  # type: ignore[arg-type]
        made.append(spool)
        spool.open()
        return spool

    yield make
    for spool in made:
        spool.close()


PLANTED = ("a directory", "a symbolic link", "a FIFO", "a socket")


def plant(kind: str, path: Path) -> None:
    match kind:
        case "a directory":
            path.mkdir()
        case "a symbolic link":
            path.symlink_to("/etc/passwd")
        case "a FIFO":
            os.mkfifo(path)
        case "a socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


async def deliver_in_part(spool: Spool, part: PartId) -> None:
    """Put a file into quarantine, of which what could be read is delivered."""
    await spool.keep(spoken(SOUND, part.utterance))
    path = spool.directory / f"{part}.utt"
    data = bytearray(path.read_bytes())
    data[40] ^= 1  # in its header
    path.write_bytes(data)
    assert spool.load(part) is not None
    await spool.remove(part)


def spoil(spool: Spool, part: PartId, content: bytes = b"rubbish") -> None:
    """Put a file into quarantine under the name of `part`."""
    (spool.directory / f"{part}.utt").write_bytes(content)
    assert spool.load(part) is None


class TestOpen:
    async def test_what_is_not_open_takes_nothing(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "spool")
        utterance = spoken(SOUND)
        with pytest.raises(SpoolError, match="is not open"):
            await spool.keep(utterance)
        assert utterance.durable is not None
        assert not utterance.durable.result()
        assert spool.entries() == []
        spool.close()

    async def test_later_it_may_be_opened_after_all(self, tmp_path: Path) -> None:
        place = tmp_path / "place"
        place.touch()
        spool = Spool(place / "spool")
        with pytest.raises(SpoolError):
            spool.open()
        place.unlink()
        assert spool.open() == []
        await spool.keep(spoken(SOUND, ONE.utterance))
        assert spool.open() == [ONE]
        spool.close()

    async def test_a_directory_that_is_gone_is_made_again_with_its_lock(self, make: Make) -> None:
        spool = make()
        shutil.rmtree(spool.directory)
        await spool.keep(spoken(SOUND, ONE.utterance))
        assert spool.load(ONE) is not None
        with pytest.raises(AlreadyRunning):
            make()

    async def test_what_was_deleted_while_it_was_written_is_not_called_durable(self, make: Make) -> None:
        spool = make()
        utterance = beginning(ONE.utterance)
        keeping = spool.keep(utterance)
        utterance.append(SOUND)
        task = asyncio.create_task(keeping)
        await until(lambda: names(spool.directory))
        shutil.rmtree(spool.directory)
        utterance.finish(1.0)
        with pytest.raises(SpoolError, match="deleted while it was written"):
            await task
        utterance.durable = None
        await spool.keep(utterance)
        assert utterance.durable
        assert spool.load(ONE) is not None

    def test_what_a_crash_left_half_made_is_swept_away(self, make: Make) -> None:
        spool = make()
        (spool.directory / "kept").mkdir()
        for name in (f"{ONE}.utt.new", f"kept/{ONE}.wav.new", "kept/mine.wav"):
            (spool.directory / name).touch()
        spool.close()
        make()
        assert names(spool.directory) == ["kept"]
        assert names(spool.directory / "kept") == ["mine.wav"]


async def test_what_an_earlier_try_made_durable_stays_until_the_new_file_is_whole(make: Make) -> None:
    spool = make()
    await spool.keep(spoken(SOUND[:3200], ONE.utterance))
    utterance = beginning(ONE.utterance)
    utterance.append(SOUND[:6400])
    keeping = asyncio.create_task(spool.keep(utterance))
    await until(lambda: f"{ONE}.utt.new" in names(spool.directory))
    old = spool.load(ONE)
    assert old is not None
    assert old.length == 3200
    utterance.append(SOUND[6400:])
    utterance.finish(1.0)
    await keeping
    assert names(spool.directory) == [f"{ONE}.utt"]
    new = spool.load(ONE)
    assert new is not None
    assert new.read(0, new.length) == SOUND


class TestSize:
    async def test_what_waits_is_never_deleted_to_make_room(self, make: Make) -> None:
        spool = make(max_bytes=2 * FILE_BYTES + 100)
        await spool.keep(spoken(SOUND, ONE.utterance))
        await spool.keep(spoken(SOUND, TWO.utterance))
        refused = spoken(SOUND, THREE.utterance)
        with pytest.raises(SpoolError, match=r"is full: spool\.max_mb \(0\) reached: see `flowpi spool list`$"):
            await spool.keep(refused)
        assert names(spool.directory) == [f"{ONE}.utt", f"{TWO}.utt"]
        await spool.remove(ONE)
        refused.durable = None
        await spool.keep(refused)
        assert spool.load(THREE) is not None

    async def test_first_the_oldest_audio_goes_then_what_is_delivered_in_part(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        told: list[tuple[PartId, str, int]] = []
        spool: Spool = make(
            max_bytes=4 * FILE_BYTES + 100,
            on_quarantine=lambda part, reason: told.append((part, reason, spool.quarantined)),
        )
        for part in (ONE, TWO):
            await spool.keep(spoken(SOUND, part.utterance))
            await spool.remove(part, keep_audio=True)
        for part in (ONE, TWO):
            await deliver_in_part(spool, part)
        caplog.clear()
        told.clear()
        for number in (4, 5, 6):
            await spool.keep(spoken(SOUND, ulid(number)))
        deleted = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
        assert deleted == [
            f"deleted kept/{ONE}.wav to make room",
            f"deleted kept/{TWO}.wav to make room",
            f"deleted quarantine/{ONE}.utt.delivered to make room",
        ]
        assert spool.quarantined == 1
        assert told == [(ONE, "", 1)]

    async def test_what_may_be_the_only_copy_stays_though_it_cannot_be_read(self, make: Make) -> None:
        spool = make(max_bytes=2 * FILE_BYTES + 100)
        spoil(spool, ONE, bytes(FILE_BYTES))
        spool.open()  # counts what lies there
        (spool.directory / "quarantine" / "of a stranger.utt.delivered").touch()
        await spool.keep(spoken(SOUND, TWO.utterance))
        with pytest.raises(SpoolError, match="is full"):
            await spool.keep(spoken(SOUND, THREE.utterance))
        assert names(spool.directory / "quarantine") == [f"{ONE}.utt", "of a stranger.utt.delivered"]
        spool.discard(f"quarantine/{ONE}.utt")
        await spool.keep(spoken(SOUND, THREE.utterance))

    async def test_what_lies_there_at_the_start_counts(self, make: Make) -> None:
        spool = make()
        await spool.keep(spoken(SOUND, ONE.utterance))
        spool.close()
        with pytest.raises(SpoolError, match="max_mb"):
            await make(max_bytes=2 * FILE_BYTES - 100).keep(spoken(SOUND, TWO.utterance))

    async def test_what_somebody_deleted_does_not_count(self, make: Make) -> None:
        spool = make(max_bytes=FILE_BYTES + 100)
        await spool.keep(spoken(SOUND, ONE.utterance))
        (spool.directory / f"{ONE}.utt").unlink()
        await spool.keep(spoken(SOUND, TWO.utterance))


class TestQuarantine:
    def test_it_is_told_with_its_reason(self, make: Make) -> None:
        told: list[tuple[PartId, str]] = []
        spool = make(on_quarantine=lambda part, reason: told.append((part, reason)))
        spoil(spool, ONE)
        assert told == [(ONE, "not an utterance")]
        assert spool.quarantined == 1

    async def test_what_was_delivered_as_far_as_it_goes_has_no_reason(self, make: Make) -> None:
        told: list[tuple[PartId, str]] = []
        spool = make(on_quarantine=lambda part, reason: told.append((part, reason)))
        await deliver_in_part(spool, ONE)
        assert (told, spool.quarantined) == ([(ONE, "")], 1)

    def test_nothing_there_is_overwritten(self, make: Make) -> None:
        spool = make()
        for content in (b"first", b"second", b"third"):
            spoil(spool, ONE, content)
        folder = spool.directory / "quarantine"
        assert names(folder) == [f"{ONE}.utt", f"{ONE}.utt~2", f"{ONE}.utt~3"]
        assert [(folder / name).read_bytes() for name in names(folder)] == [b"first", b"second", b"third"]
        spool.close()
        assert make().quarantined == 3

    async def test_one_can_be_brought_back(self, make: Make) -> None:
        spool = make()
        await spool.keep(spoken(SOUND, ONE.utterance))
        good = (spool.directory / f"{ONE}.utt").read_bytes()
        spoil(spool, ONE, b"first")
        spoil(spool, ONE, b"second")
        (spool.directory / "quarantine" / f"{ONE}.utt~2").write_bytes(good)
        assert spool.restore(f"quarantine/{ONE}.utt~2") == ONE
        assert spool.load(ONE) is not None
        assert spool.quarantined == 1
        with pytest.raises(SpoolError, match="cannot be brought back \\(File exists\\)"):
            spool.restore(f"quarantine/{ONE}.utt")
        with pytest.raises(SpoolError, match="No such file"):
            spool.restore(f"quarantine/{TWO}.utt")

    async def test_one_that_is_delivered_is_not_told_twice(self, make: Make) -> None:
        spool = make()
        for _ in range(2):
            await deliver_in_part(spool, ONE)
        for name in names(spool.directory / "quarantine"):
            with pytest.raises(SpoolError, match=r"the text of .* is out already: export it to hear it, or drop it"):
                spool.restore(f"quarantine/{name}")
        assert spool.quarantined == 2

    async def test_the_listing_tells_why_it_is_there(self, make: Make) -> None:
        spool = make()
        spoil(spool, ONE)
        for _ in range(2):
            await deliver_in_part(spool, TWO)
        folder = spool.directory / "quarantine"
        os.setxattr(folder / f"{TWO}.utt.delivered", "user.flowpi.reason", b"\x1b[2J\xff" + 300 * b"x")
        (folder / "unknown").touch()
        os.mkfifo(folder / f"{THREE}.utt")
        spool.close()
        assert [(one.name, one.part, one.delivered, one.reason) for one in Spool(spool.directory).entries()] == [
            (f"quarantine/{ONE}.utt", ONE, False, "not an utterance"),
            (f"quarantine/{TWO}.utt.delivered", TWO, True, " [2J\N{REPLACEMENT CHARACTER}" + 195 * "x"),
            (f"quarantine/{TWO}.utt.delivered~2", TWO, True, "damaged; what could be read of it is delivered"),
            (f"quarantine/{THREE}.utt", THREE, False, "it is a FIFO"),
            ("quarantine/unknown", None, False, ""),
        ]

    def test_what_has_another_name_elsewhere_is_not_written_to(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        (tmp_path / "elsewhere").write_bytes(b"rubbish")
        (spool.directory / f"{ONE}.utt").hardlink_to(tmp_path / "elsewhere")
        assert spool.load(ONE) is None
        assert os.listxattr(tmp_path / "elsewhere") == []

    def test_a_directory_can_be_thrown_away_if_nothing_is_in_it(self, make: Make) -> None:
        spool = make()
        (spool.directory / f"{ONE}.utt").mkdir()
        assert spool.load(ONE) is None
        inside = spool.directory / "quarantine" / f"{ONE}.utt" / "file"
        inside.touch()
        with pytest.raises(SpoolError, match="cannot be deleted \\(Directory not empty\\): delete what is in it"):
            spool.discard(f"quarantine/{ONE}.utt")
        inside.unlink()
        spool.discard(f"quarantine/{ONE}.utt")
        assert (spool.quarantined, names(spool.directory / "quarantine")) == (0, [])

    def test_one_can_be_thrown_away(self, make: Make) -> None:
        spool = make()
        spoil(spool, ONE)
        spool.discard(f"quarantine/{ONE}.utt")
        spool.discard(f"quarantine/{ONE}.utt")
        assert spool.quarantined == 0
        assert names(spool.directory / "quarantine") == []


class TestAge:
    async def test_what_is_delivered_goes_after_its_days(self, make: Make) -> None:
        told: list[tuple[PartId, str, int]] = []
        spool: Spool = make(
            keep_days=30, on_quarantine=lambda part, reason: told.append((part, reason, spool.quarantined))
        )
        for part in (ONE, TWO):
            await spool.keep(spoken(SOUND, part.utterance))
        await spool.remove(ONE, keep_audio=True)
        await deliver_in_part(spool, THREE)
        spoil(spool, THREE)
        told.clear()
        now_s = (spool.directory / "quarantine" / f"{THREE}.utt").stat().st_ctime
        for days, left in ((29.9, 1), (30.1, 1), (31.0, 1), (31.2, 0)):
            spool.expire(now_s + days * DAY_S, days * DAY_S)
            assert len(names(spool.directory / "kept")) == left
            assert len(names(spool.directory / "quarantine")) == 1 + left
        assert told == [(THREE, "", 1)]
        assert names(spool.directory / "quarantine") == [f"{THREE}.utt"]  # no text of it is published
        assert spool.load(TWO) is not None  # what waits never expires


class TestEntries:
    async def test_all_that_is_not_delivered_also_beside_a_daemon(self, make: Make) -> None:
        spool = make()
        for number in (2, 1):
            await spool.keep(spoken(SOUND, ulid(number)))
        spoil(spool, THREE)
        spoil(spool, THREE)
        (spool.directory / f"{ulid(4)}.2.utt").write_bytes(b"flowpi utterance 3\n and more")
        (spool.directory / "notes.txt").touch()
        other = Spool(spool.directory)
        assert other.entries() == [
            SpoolEntry(str(ONE), ONE, "waiting", FILE_BYTES, 0.5),
            SpoolEntry(str(TWO), TWO, "waiting", FILE_BYTES, 0.5),
            SpoolEntry(f"{ulid(4)}.2", PartId(ulid(4), 2), "newer", 28, 0.0),
            SpoolEntry(f"quarantine/{THREE}.utt", THREE, "quarantined", 7, 0.0, reason="not an utterance"),
            SpoolEntry(f"quarantine/{THREE}.utt~2", THREE, "quarantined", 7, 0.0, reason="not an utterance"),
        ]
        other.close()

    @pytest.mark.parametrize("folder", ["", "quarantine"])
    def test_what_is_no_file_is_listed_as_what_it_is(self, make: Make, folder: str) -> None:
        home = make().directory / folder
        home.mkdir(exist_ok=True)
        for number, kind in enumerate(PLANTED):
            plant(kind, home / f"{ulid(number)}.utt")
        found = Spool(home.parent if folder else home).entries()
        assert [one.reason for one in found] == [f"it is {kind}" for kind in PLANTED]
        assert {one.state for one in found} == {"quarantined" if folder else "waiting"}

    @pytest.mark.parametrize("folder", ["", "quarantine"])
    @pytest.mark.parametrize("call", ["open", "read"])
    def test_what_cannot_be_read_is_listed_with_the_reason(
        self, make: Make, monkeypatch: pytest.MonkeyPatch, folder: str, call: str
    ) -> None:
        home = make().directory / folder
        home.mkdir(exist_ok=True)
        (home / f"{ONE}.utt").write_bytes(b"rubbish")
        real, number = getattr(os, call), (home / f"{ONE}.utt").stat().st_ino

        def refuse(first: str | Path | int, *more: int, **named: int) -> int | bytes:
            at = os.fstat(first) if isinstance(first, int) else os.stat(first, dir_fd=named.get("dir_fd"))
            if at.st_ino == number:
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            result: int | bytes = real(first, *more, **named)
            return result

        monkeypatch.setattr(os, call, refuse)
        (found,) = Spool(home.parent if folder else home).entries()
        assert (found.part, found.reason) == (ONE, "Permission denied")

    @pytest.mark.parametrize(
        ("file", "shown"),
        [
            (b"any thing~\x1b[2J", "any thing~%1B[2J"),
            (b"100%25", "100%2525"),
            (b"\xff\xe2\x80\xae", "%FF%E2%80%AE"),
            ("\u0645\u06cc\u200c\u062e".encode(), "\u0645\u06cc\u200c\u062e"),
        ],
        ids=["escape sequence", "percent", "bytes and an override", "Persian"],
    )
    def test_any_name_in_quarantine_can_be_shown_and_typed(self, make: Make, file: bytes, shown: str) -> None:
        spool = make()
        home = spool.directory / "quarantine"
        home.mkdir()
        (home / os.fsdecode(file)).touch()
        (home / "other").touch()
        assert f"quarantine/{shown}" in [one.name for one in spool.entries()]
        with pytest.raises(SpoolError, match="does not have the name of an utterance: drop it"):
            spool.restore(f"quarantine/{shown}")
        spool.discard(f"quarantine/{shown}")
        assert names(home) == ["other"]


async def test_what_is_planted_is_deleted_when_it_is_dropped(make: Make) -> None:
    spool = make()
    for number, kind in enumerate(PLANTED):
        part = PartId(ulid(number))
        plant(kind, spool.directory / f"{part}.utt")
        await spool.remove(part, cancelled=True)
    assert names(spool.directory) == []
    (spool.directory / f"{ONE}.utt").mkdir()
    (spool.directory / f"{ONE}.utt" / "file").touch()
    with pytest.raises(SpoolError, match="cannot be deleted \\(Directory not empty\\): delete what is in it"):
        await spool.remove(ONE, cancelled=True)


class TestExport:
    async def test_as_a_wav(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        await spool.keep(spoken(SOUND, ONE.utterance))
        assert not spool.export(str(ONE), tmp_path / "out.wav").partial
        with wave.open(str(tmp_path / "out.wav")) as wav:
            assert wav.readframes(1 << 20) == SOUND
        with pytest.raises(CannotCreateError, match="File exists"):
            spool.export(str(ONE), tmp_path / "out.wav")

    async def test_while_it_grows_and_from_quarantine(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        await spool.keep(spoken(SOUND, ONE.utterance))
        half = (spool.directory / f"{ONE}.utt").read_bytes()[:-20]
        (spool.directory / f"{ONE}.utt").write_bytes(half)
        assert spool.export(str(ONE), tmp_path / "growing.wav").partial
        spoil(spool, TWO)
        (spool.directory / "quarantine" / f"{TWO}.utt").write_bytes(half.replace(ONE.utterance.encode(), b"x" * 26))
        assert spool.export(f"quarantine/{TWO}.utt", tmp_path / "bad.wav").damaged
        assert (tmp_path / "bad.wav").stat().st_size == 44 + len(SOUND)

    async def test_of_one_that_somebody_renamed(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        await spool.keep(spoken(SOUND, ONE.utterance))
        (spool.directory / f"{ONE}.utt").rename(spool.directory / f"{TWO}.utt")
        assert not spool.export(str(TWO), tmp_path / "renamed.wav").damaged
        assert spool.load(TWO) is None
        assert not spool.export(f"quarantine/{TWO}.utt", tmp_path / "aside.wav").damaged
        for name in ("renamed", "aside"):
            assert (tmp_path / f"{name}.wav").read_bytes()[44:] == SOUND

    def test_of_what_is_no_file(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        (tmp_path / "elsewhere").write_bytes(SOUND)
        os.mkfifo(spool.directory / f"{ONE}.utt")
        (spool.directory / f"{TWO}.utt").symlink_to(tmp_path / "elsewhere")
        (spool.directory / f"{THREE}.utt").mkdir()
        for part in (ONE, TWO, THREE):
            with pytest.raises(DataError, match="has no sound: it is no regular file"):
                spool.export(str(part), tmp_path / "out.wav")
            assert spool.load(part) is None
            with pytest.raises(DataError, match="has no sound: it is no regular file"):
                spool.export(f"quarantine/{part}.utt", tmp_path / "out.wav")

    def test_where_there_is_nothing_that_is_said(self, make: Make, tmp_path: Path) -> None:
        spool = make()
        spoil(spool, TWO)
        for name in (str(ONE), f"quarantine/{TWO}.utt", f"{TWO}.utt", "quarantine/../../x", "../../etc/passwd", ""):
            with pytest.raises(DataError):
                spool.export(name, tmp_path / "out.wav")
        assert not (tmp_path / "out.wav").exists()


class TestKeptAudio:
    async def test_it_replaces_an_older_one_and_leaves_nothing_half_made(self, make: Make) -> None:
        spool = make()
        kept = spool.directory / "kept"
        kept.mkdir()
        (kept / f"{ONE}.wav").write_bytes(b"older")
        (kept / f"{ONE}.wav.new").write_bytes(b"of a crash")
        await spool.keep(spoken(SOUND, ONE.utterance))
        await spool.remove(ONE, keep_audio=True)
        assert names(kept) == [f"{ONE}.wav"]
        assert (kept / f"{ONE}.wav").read_bytes()[44:] == SOUND
        assert (kept / f"{ONE}.wav").stat().st_mode & 0o777 == 0o600

    async def test_where_it_cannot_be_kept_that_is_said_and_the_audio_is_gone(self, make: Make) -> None:
        spool = make()
        (spool.directory / "kept").touch()
        await spool.keep(spoken(SOUND, ONE.utterance))
        with pytest.raises(SpoolError, match=f"the audio of {ONE} is not kept \\(Not a directory\\)"):
            await spool.remove(ONE, keep_audio=True)
        assert names(spool.directory) == ["kept"]


@pytest.mark.parametrize("folder", ["kept", "quarantine"])
async def test_a_folder_that_is_a_link_leads_nowhere(make: Make, tmp_path: Path, folder: str) -> None:
    spool = make()
    (tmp_path / "elsewhere").mkdir()
    (spool.directory / folder).symlink_to(tmp_path / "elsewhere")
    await spool.keep(spoken(SOUND, ONE.utterance))
    await spool.keep(spoken(SOUND, TWO.utterance))
    (spool.directory / f"{TWO}.utt").write_bytes(b"rubbish")
    with contextlib.suppress(AudioNotKept):
        await spool.remove(ONE, keep_audio=True)
    assert spool.load(TWO) is None
    assert names(tmp_path / "elsewhere") == []
