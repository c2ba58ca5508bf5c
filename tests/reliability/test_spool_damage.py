"""Damaged, foreign and planted files in the spool."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import PartId
from flowpi.core.errors import SpoolError
from flowpi.spool.spool import Spool
from tests.reliability import closed_doors, planted
from tests.rig.trace import Call, traced
from tests.sound import beginning, noise, spoken, ulid
from tests.waiting import PATIENCE_S

Measured = Callable[..., None]
Times = Callable[[int, int], int]

PIECE = 3200
GOOD = 5


async def recorded(directory: Path, number: int) -> bytes:
    """Return the content of the file of an utterance that was written piece by piece."""
    spool = Spool(directory, sync_s=0.1)
    spool.open()
    utterance = beginning(ulid(number))
    keeping = asyncio.create_task(spool.keep(utterance))
    pcm = noise(0.5, seed=number)
    for at in range(0, len(pcm), PIECE):
        utterance.append(pcm[at : at + PIECE])
        await asyncio.sleep(0)
    utterance.finish(0.0)
    await keeping
    spool.close()
    return (directory / f"{utterance.part_id}.utt").read_bytes()


def harmed(data: bytes, chance: random.Random) -> bytes:
    """Return the data with a bit flipped, the end cut off, or a region of zeros or noise."""
    at = chance.randrange(len(data))
    size = min(chance.choice([1, 8, 512, 4096]), len(data) - at)
    match chance.randrange(4):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + bytes(size) + data[at + size :]
        case _:
            return data[:at] + chance.randbytes(size) + data[at + size :]


@pytest.mark.promise("P27")
async def test_a_damaged_file_costs_itself_at_most(tmp_path: Path, times: Times, measured: Measured) -> None:
    """Of ten damaged files among good ones, again and again, as much as possible is read; the good ones are whole."""
    chance = random.Random(11)
    number = times(300, 10_000)
    made = [await recorded(tmp_path / "made", n) for n in range(GOOD)]
    home = tmp_path / "spool"
    loaded = quarantined = newer = silence = 0
    for first in range(0, number, 10):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        for n in range(GOOD):
            (home / f"{ulid(n)}.utt").write_bytes(made[n])
        for n in range(10, 20):
            victim = made[n % GOOD].replace(ulid(n % GOOD).encode(), ulid(n).encode())  # damaged already: its header
            (home / f"{ulid(n)}.utt").write_bytes(harmed(victim, chance))
        told: list[PartId] = []
        spool = Spool(home, on_quarantine=lambda part, reason, told=told: told.append(part))  # type: ignore[misc]
        parts = spool.open()
        assert len(parts) == GOOD + 10, first
        waiting = {entry.part for entry in spool.entries() if entry.state == "newer"}
        for part in parts:
            utterance, n = spool.load(part), int(part.utterance[6:])
            if n < GOOD:
                assert utterance is not None
                assert utterance.read(0, utterance.length) == noise(0.5, seed=n)
                assert not utterance.partial
            elif utterance is None:
                quarantined += part in told
                newer += part in waiting
                assert (part in told) is not (part in waiting)
            else:
                loaded += 1
                said, heard = noise(0.5, seed=n % GOOD), utterance.read(0, utterance.length)
                pieces = [(heard[at : at + PIECE], said[at : at + PIECE]) for at in range(0, len(heard), PIECE)]
                holes = [piece for piece, real in pieces if piece != real]
                assert not any(any(hole) for hole in holes)
                assert utterance.partial
                assert utterance.lost_frames == sum(map(len, holes)) // 2
                silence += len(holes)
        assert spool.quarantined == len(told)
        spool.close()
    measured(damaged=number, read_in_part=loaded, put_in_quarantine=quarantined, of_a_newer_version=newer,
             tenths_of_a_second_lost=silence, good_ones_lost=0, exceptions=0)  # fmt: skip
    assert loaded > number / 2
    assert quarantined


@pytest.mark.promise("P27")
async def test_damage_that_was_taken_for_sound_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above fails for a reader without checksums."""
    monkeypatch.setattr(zlib, "crc32", lambda data, value=0: 0)
    with pytest.raises(AssertionError):
        await test_a_damaged_file_costs_itself_at_most(tmp_path, lambda quick, long: quick, lambda **facts: None)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """Yield a directory that belongs to a user who is not root."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() == 0:
            os.chown(name, closed_doors.NOBODY, closed_doors.NOBODY)
        yield Path(name)


@pytest.mark.promise("P27")
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("quarantine", "Permission denied"),
        ("kept", "Permission denied"),
        ("spool", "Permission denied"),
        ("files", "Too many open files"),
    ],
)
def test_what_cannot_be_looked_at_stops_nothing(what: str, reason: str, open_place: Path, measured: Measured) -> None:
    """The hourly check goes on and logs it once. What waits is listed and kept as long as the spool itself is open."""
    command = [sys.executable, "-W", "ignore", "-m", closed_doors.__name__, str(open_place), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    measured(closed=what, looks=3, warnings=len(found["looked"]), exceptions=0)
    usable = what in ("quarantine", "kept")
    places = [open_place / "spool" / folder for folder in ([what] if usable else ["kept", "quarantine"])]
    assert [words.split(":")[0] for words in found["looked"]] == [
        f"{place} cannot be looked at ({reason})" for place in places
    ]
    cannot = f"the spool {str(open_place / 'spool')!r} cannot be used ({reason})"
    assert found["refused"] == ([] if usable else 3 * [cannot])
    assert found["quarantined"] == 1  # the last that was seen
    aside = f"quarantine/{ulid(1)}.utt"
    assert found["after"] == [ulid(3), *([ulid(4)] if usable else []), aside]


CALLS = "open,openat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,truncate,chmod,fchmodat"


def inside(calls: list[Call], secret: Path) -> list[Call]:
    """Return the calls that opened something of the secret, or used a handle on it."""
    return [call for call in calls if call.opened.startswith(str(secret)) or call.path.startswith(str(secret))]


def a_secret(place: Path) -> Path:
    secret = place / "secret"
    secret.mkdir()
    (secret / "file").write_text("not of the spool")
    return secret


@pytest.mark.promise("P17")
def test_nothing_outside_is_touched(tmp_path: Path, times: Times, measured: Measured) -> None:
    """A thousand planted files are loaded, overwritten, exported and removed, and strace sees no access outside."""
    number, secret, output = times(200, 1000), a_secret(tmp_path), list[str]()
    calls = traced(CALLS, planted.__name__, tmp_path, number, log=tmp_path / "log", output=output)
    written, kept = json.loads(output[0])
    measured(planted=number, kept_all_the_same=kept, steps_outside=len(inside(calls, secret)), hung=0)
    assert len(calls) > number
    assert inside(calls, secret) == []
    assert os.listdir(secret) == ["file"]
    assert (secret / "file").read_text() == "not of the spool"
    assert kept == written
    assert kept > number / 3


@pytest.mark.promise("P17")
def test_a_step_outside_would_be_seen(tmp_path: Path) -> None:
    secret = a_secret(tmp_path)
    assert inside(traced(CALLS, planted.__name__, tmp_path, 8, "follow", log=tmp_path / "log"), secret)


@pytest.mark.promise("P17")
async def test_names_that_lead_elsewhere_are_no_names(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    (tmp_path / "x.utt").touch()
    for name in (
        "../x.utt",
        "/etc/passwd",
        "..",
        "",
        "a" * 300,
        "nul\0",
        f"../{ulid(1)}.utt",
        f"../spool/{ulid(1)}.utt",
    ):
        with pytest.raises(SpoolError):
            spool.restore(name)
        spool.discard(name)
        assert PartId.parse(name) is None
    assert (tmp_path / "x.utt").exists()
    spool.close()


def watch(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
    """Call `before` with each name just before it is opened."""
    real = os.open

    def watched(path: str, *rest: Any, **options: Any) -> int:
        before(str(path))
        return real(path, *rest, **options)

    monkeypatch.setattr(os, "open", watched)


@pytest.mark.promise("P17")
def test_what_is_no_regular_file_is_not_even_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a device has effects: it may rewind a tape, or start a watchdog."""
    spool = Spool(tmp_path)
    spool.open()
    part, opened = PartId(ulid(1)), list[str]()
    os.mkfifo(tmp_path / f"{part}.utt")
    watch(monkeypatch, opened.append)
    assert [entry.part for entry in spool.entries()] == [part]
    assert spool.load(part) is None
    assert opened
    assert f"{part}.utt" not in opened
    spool.close()


@pytest.mark.promise("P17")
async def test_a_link_put_in_place_of_a_file_between_two_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    spool.open()
    await spool.keep(spoken(noise(0.1), ulid(1)))
    file = spool.directory / f"{ulid(1)}.utt"

    def swap(path: str) -> None:
        if path == file.name and not file.is_symlink():
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")

    watch(monkeypatch, swap)
    assert spool.load(PartId(ulid(1))) is None
    assert spool.quarantined == 1
    spool.close()
