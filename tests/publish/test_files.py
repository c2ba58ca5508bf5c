import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.core.errors import CannotCreateError, SpoolError
from flowpi.publish.files import Transcripts
from flowpi.publish.messages import Final
from tests.waiting import PATIENCE_S

DAY_S = 86_400
NOON = 1_700_000_000 // DAY_S * DAY_S + DAY_S / 2  # noon of 14 November 2023, UTC


def final(number: int = 1, text: str = "It was the best.", part: int = 1) -> Final:
    started_at = "2023-11-14T12:00:00.000Z"
    return Final(f"01JAZZ{number:020d}", part, text, "en", "house", started_at, 1.5, 0.25, False)


def lines(transcripts: Transcripts, day: str = "2023-11-14") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (transcripts.directory / f"{day}.jsonl").read_bytes().splitlines()]


def fails(*arguments: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@contextlib.contextmanager
def unreadable(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    """Let nobody open a file, for the length of a block, as if it belonged to another user."""
    real = os.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> int:
        if isinstance(path, Path) and path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, *arguments, **more)

    with monkeypatch.context() as disk:
        disk.setattr("os.open", refuse)
        yield


async def test_a_line_for_each_transcript(transcripts: Transcripts) -> None:
    await transcripts.append(final(1), NOON)
    await transcripts.append(final(2, "two\nlines\u2028\x1b"), NOON)
    assert lines(transcripts) == [
        {
            "id": "01JAZZ00000000000000000001",
            "part": 1,
            "text": "It was the best.",
            "language": "en",
            "backend": "house",
            "started_at": "2023-11-14T12:00:00.000Z",
            "duration_s": 1.5,
            "final_after_s": 0.25,
            "late": False,
        },
        {**lines(transcripts)[0], "id": "01JAZZ00000000000000000002", "text": "two\nlines\u2028\x1b"},
    ]


async def test_the_day_is_that_of_utc(transcripts: Transcripts) -> None:
    await transcripts.append(final(1), NOON + DAY_S / 2 - 1)
    await transcripts.append(final(2), NOON + DAY_S / 2)
    assert len(lines(transcripts, "2023-11-14")) == len(lines(transcripts, "2023-11-15")) == 1


async def test_only_its_user_can_read_them(transcripts: Transcripts) -> None:
    await transcripts.append(final(), NOON)
    assert (transcripts.directory / "2023-11-14.jsonl").stat().st_mode & 0o777 == 0o600
    assert transcripts.directory.stat().st_mode & 0o777 == 0o700


async def test_a_torn_last_line_swallows_nothing(transcripts: Transcripts) -> None:
    await transcripts.append(final(1), NOON)
    path = transcripts.directory / "2023-11-14.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id":"01JAZ')
    await transcripts.append(final(2), NOON)
    await transcripts.append(final(3), NOON)
    whole = path.read_text().splitlines()
    assert [json.loads(line)["id"][-1] for line in (whole[0], whole[2], whole[3])] == ["1", "2", "3"]
    assert {utterance_id[-1] for utterance_id, _ in transcripts.ids()} == {"1", "2", "3"}


async def test_the_ids_of_all_days_and_parts(transcripts: Transcripts) -> None:
    await transcripts.append(final(1), NOON)
    await transcripts.append(final(1, part=2), NOON)
    await transcripts.append(final(2), NOON + DAY_S)
    directory = transcripts.directory
    (directory / "2023-11-16.jsonl").write_bytes(b'\n\xff\xfe\n{}\n[]\n{"id": 7, "part": 1}\n' + b"[" * 5000)
    (directory / "notes.jsonl").write_text('{"id": "no", "part": 1}\n')
    (directory / "2023-11-13.jsonl").mkdir()
    os.mkfifo(directory / "2023-11-12.jsonl")
    assert transcripts.ids() == {(final(1).id, 1), (final(1).id, 2), (final(2).id, 1)}


def test_where_there_is_no_directory_there_are_no_ids(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path / "nowhere", 30)
    assert transcripts.ids() == set()
    transcripts.close()


async def test_old_files_go_and_nothing_else(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path, keep_days=2)
    transcripts.open()
    stay = [
        "2023-11-12.jsonl",
        "2023-11-13.jsonl",
        "2031-01-01.jsonl",
        "2001-01-01.jsonl",
        "2023-11-11.txt",
        "2023-99-99.jsonl",
        "my.jsonl",
    ]
    names = ["2023-11-11.jsonl", *stay]
    for name in names:
        (tmp_path / name).touch()
    transcripts.expire(NOON, 1000.0)
    assert sorted(os.listdir(tmp_path)) == sorted(names)  # the clock may be wrong, and has a day to be corrected
    transcripts.expire(NOON, 1000.0 + DAY_S)
    transcripts.close()
    assert sorted(os.listdir(tmp_path)) == sorted(stay)


@pytest.mark.promise("P24")
async def test_a_text_that_a_clock_behind_dated_stays_as_long_as_any_other(tmp_path: Path) -> None:
    transcripts = Transcripts(tmp_path, keep_days=2)
    transcripts.open()
    await transcripts.append(final(1), NOON - 60 * DAY_S)  # before the clock was set by the network
    began = time.monotonic()
    for days in (0.0, 1.0, 1.9):
        transcripts.expire(NOON + days * DAY_S, began + days * DAY_S)
    assert len(os.listdir(tmp_path)) == 1
    for days in (2.1, 3.2):  # its day begins again
        transcripts.expire(NOON + days * DAY_S, began + days * DAY_S)
    assert os.listdir(tmp_path) == []
    transcripts.close()


@pytest.mark.promise("P24")
def test_a_clock_that_leaps_for_less_than_a_day_deletes_nothing(transcripts: Transcripts) -> None:
    (transcripts.directory / "2023-11-14.jsonl").touch()
    for hour in range(24 * 40):
        leaps = 0 if hour % 24 == 0 else 40 * DAY_S
        transcripts.expire(NOON + leaps, hour * 3600.0)
    assert os.listdir(transcripts.directory) == ["2023-11-14.jsonl"]


class TestOnce:
    """An id and part is in the files once, however often it is appended."""

    async def test_in_the_file_of_the_day(self, transcripts: Transcripts) -> None:
        for number in (1, 2, 1, 2, 2):
            await transcripts.append(final(number), NOON)
        await transcripts.append(final(1, part=2), NOON)
        assert [(line["id"][-1], line["part"]) for line in lines(transcripts)] == [("1", 1), ("2", 1), ("1", 2)]

    async def test_over_midnight(self, transcripts: Transcripts) -> None:
        await transcripts.append(final(1), NOON)
        await transcripts.append(final(1, "once more"), NOON + DAY_S)
        await transcripts.append(final(2), NOON + DAY_S)
        assert [line["id"][-1] for line in lines(transcripts) + lines(transcripts, "2023-11-15")] == ["1", "2"]

    async def test_whose_last_byte_was_not_written(self, transcripts: Transcripts) -> None:
        await transcripts.append(final(1), NOON)
        path = transcripts.directory / "2023-11-14.jsonl"
        path.write_bytes(path.read_bytes()[:-1])
        await transcripts.append(final(1), NOON)
        await transcripts.append(final(2), NOON)
        assert [line["id"][-1] for line in lines(transcripts)] == ["1", "2"]

    async def test_after_neither_sync_nor_taking_back_worked(
        self, transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A new file replaces the one of which it is unknown what is on the disk."""
        await transcripts.append(final(1), NOON)
        path = transcripts.directory / "2023-11-14.jsonl"
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fails)
            disk.setattr(os, "ftruncate", fails)
            for number in (2, 3):
                with pytest.raises(SpoolError, match="Input/output error"):
                    await transcripts.append(final(number), NOON)
        before = path.stat().st_ino
        assert [line["id"][-1] for line in lines(transcripts)] == ["1", "2"]
        for number in (2, 3, 3):
            await transcripts.append(final(number), NOON)
        assert [line["id"][-1] for line in lines(transcripts)] == ["1", "2", "3"]
        assert path.stat().st_ino != before
        assert path.stat().st_mode & 0o777 == 0o600
        assert os.listdir(transcripts.directory) == [path.name]

    @pytest.mark.parametrize("later", [[NOON] * 99, [NOON, NOON + DAY_S, NOON + 2 * DAY_S]], ids=["texts", "days"])
    async def test_long_after_neither_sync_nor_taking_back_worked(
        self, transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch, later: list[float]
    ) -> None:
        """The next text takes the file out of doubt, with the line that did not count."""
        with monkeypatch.context() as disk:
            await transcripts.append(final(0), NOON)
            disk.setattr(os, "fsync", fails)
            disk.setattr(os, "ftruncate", fails)
            with pytest.raises(SpoolError, match="Input/output error"):
                await transcripts.append(final(1), NOON)
        for number, unix_s in enumerate(later, 2):
            await transcripts.append(final(number, 1000 * "a"), unix_s)
        await transcripts.append(final(1), later[-1])
        found = [line["id"] for name in transcripts.names() for line in lines(transcripts, name.partition(".")[0])]
        assert found == [final(number).id for number in range(len(later) + 2)]

    async def test_what_a_killed_process_wrote_counts_once_it_is_synced(
        self, transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await transcripts.append(final(1), NOON)
        with monkeypatch.context() as disk:
            disk.setattr(os, "fsync", fails)
            assert transcripts.ids() == set()
        assert transcripts.ids() == {(final(1).id, 1)}


class TestLastId:
    async def test_it_is_the_greatest_of_all_days(self, transcripts: Transcripts) -> None:
        assert transcripts.last_id() is None
        for number, day in ((2, 0), (9, 1), (3, 1), (4, 2)):
            await transcripts.append(final(number), NOON + day * DAY_S)
        with (transcripts.directory / "2023-11-14.jsonl").open("ab") as file:
            file.write(b'{"id": "none", "part": 1}\n' + b"[" * 5000 + b'\n{"id": "01JAZ')
        assert transcripts.last_id() == final(9).id

    async def test_a_large_file_is_not_read_from_its_beginning(self, transcripts: Transcripts) -> None:
        path = transcripts.directory / "2023-11-14.jsonl"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        await transcripts.append(final(5), NOON)
        assert transcripts.last_id() == final(5).id


async def test_a_link_is_not_followed(transcripts: Transcripts, tmp_path: Path) -> None:
    (transcripts.directory / "2023-11-14.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        await transcripts.append(final(), NOON)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
async def test_what_is_no_regular_file_is_passed_over_and_told_once(
    transcripts: Transcripts, caplog: pytest.LogCaptureFixture, make: Callable[[Path], None]
) -> None:
    await transcripts.append(final(), NOON)
    strange = transcripts.directory / "2023-11-13.jsonl"
    make(strange)
    for _ in range(2):
        assert transcripts.names() == ["2023-11-14.jsonl"]
    assert caplog.text.count(f"{strange} is passed over: it is no regular file; move it away") == 1


async def test_texts_do_not_go_into_a_fifo(transcripts: Transcripts) -> None:
    os.mkfifo(transcripts.directory / "2023-11-14.jsonl")
    with pytest.raises(SpoolError, match=r"2023-11-14\.jsonl is no regular file"):
        await transcripts.append(final(), NOON)
    (transcripts.directory / "2023-11-14.jsonl").unlink()
    await transcripts.append(final(), NOON)
    assert lines(transcripts)[0]["id"] == final().id


async def test_what_cannot_be_written_is_said(transcripts: Transcripts) -> None:
    transcripts.directory.rmdir()
    transcripts.directory.touch()
    with pytest.raises(SpoolError) as caught:
        await transcripts.append(final(), NOON)
    assert str(caught.value) == (
        f"the transcript cannot be written to '{transcripts.directory}' (Not a directory): set publish.files.directory"
    )


async def test_a_directory_that_was_deleted_is_made_again(transcripts: Transcripts) -> None:
    await transcripts.append(final(1), NOON)
    shutil.rmtree(transcripts.directory)
    await transcripts.append(final(2), NOON)
    assert [line["id"][-1] for line in lines(transcripts)] == ["2"]
    assert transcripts.directory.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    transcripts = Transcripts(tmp_path / "file" / "transcripts", 30)
    with pytest.raises(CannotCreateError, match=r"cannot be used \(Not a directory\): set publish\.files\.directory$"):
        transcripts.open()
    transcripts.close()


FULL = """
import asyncio, resource, sys
from pathlib import Path
from flowpi.core.errors import SpoolError
from flowpi.publish.files import Transcripts
from tests.publish.test_files import NOON, final

async def main():
    transcripts = Transcripts(Path(sys.argv[1]), 30)
    await transcripts.append(final(1), NOON)
    size = (Path(sys.argv[1]) / "2023-11-14.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
    try:
        await transcripts.append(final(2), NOON)
    except SpoolError:
        print("not written")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await transcripts.append(final(3), NOON)
    transcripts.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("room", [0, 1, 100])
def test_of_a_line_that_does_not_fit_nothing_stays(transcripts: Transcripts, room: int) -> None:
    """A limit on the size of files, which every user can set, stands in for a small disk."""
    command = [sys.executable, "-W", "ignore", "-c", FULL, str(transcripts.directory), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("not written\n", "")
    assert [line["id"][-1] for line in lines(transcripts)] == ["1", "3"]


async def test_a_probe_tells_how_the_disk_does_and_leaves_nothing(transcripts: Transcripts) -> None:
    (transcripts.directory / "probe.new").write_bytes(b"of a crash")
    await transcripts.probe()
    assert list(transcripts.directory.iterdir()) == []
    transcripts.directory.rmdir()
    transcripts.directory.touch()
    with pytest.raises(SpoolError, match="cannot be written"):
        await transcripts.probe()
