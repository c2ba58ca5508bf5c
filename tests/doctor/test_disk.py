"""The disk faults that the doctor must distinguish; `disks.py` makes real small disks."""

import os
import time
from pathlib import Path

import pytest

from flowpi.config.schema import Config, FilesSettings, PublishSettings, SocketSettings, SpoolSettings
from flowpi.core.ulid import UlidFactory
from flowpi.doctor import disk
from flowpi.doctor.findings import Finding
from tests.rig.disks import alone

NOW_MS = int(time.time() * 1000)


def config_of(place: Path) -> Config:
    publish = PublishSettings(
        socket=SocketSettings(path=str(place / "flowpi.sock")),
        files=FilesSettings(directory=str(place / "transcripts")),
    )
    return Config(publish=publish, spool=SpoolSettings(directory=str(place / "spool"), max_mb=1))


def test_all_is_well_also_before_the_first_start(tmp_path: Path) -> None:
    (finding,) = disk.examine(config_of(tmp_path / "not" / "yet" / "made"))
    assert (finding.level, finding.code) == ("ok", "works")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = alone("tests.doctor.disks", tmp_path_factory.mktemp("disks"))
    return found


@pytest.mark.parametrize(
    ("kind", "level", "code", "hint"),
    [
        ("full", "failure", "full", "free some space"),
        ("low", "warning", "low", "lower spool.max_mb"),
        ("no inodes", "failure", "inodes", "du --inodes"),
        ("read-only", "failure", "read_only", "remount,rw"),
        ("another's", "failure", "forbidden", "install"),
        ("torn out", "failure", "not_written", "replace"),
    ],
)
def test_a_disk(small: dict[str, dict[str, str]], kind: str, level: str, code: str, hint: str) -> None:
    finding = small[kind]
    assert (finding["level"], finding["code"]) == (level, code)
    assert hint in finding["hint"]


def test_what_is_private_is_no_fault(small: dict[str, dict[str, str]]) -> None:
    finding = small["the service's"]
    assert (finding["level"], finding["code"]) == ("ok", "skipped")
    assert "as root" in finding["message"]


def test_one_of_the_service_that_belongs_to_root(small: dict[str, dict[str, str]]) -> None:
    assert small["root's"]["code"] == "forbidden"
    hint = "sudo chown -R flowpi:flowpi /var/lib/flowpi/spool && sudo systemctl restart flowpi"
    assert small["root's"]["hint"] == hint
    assert small["another user's"]["hint"] == hint


def test_one_finding_for_two_folders_of_a_disk(small: dict[str, dict[str, str]]) -> None:
    assert small["both full"]["code"] == "full"
    assert small["both full"]["message"].endswith("/spool has 8 MB left")


def test_nobody_is_told_to_take_over_what_is_not_theirs(small: dict[str, dict[str, str]]) -> None:
    assert small["another's"]["hint"].startswith("`sudo install -d -o $USER /var/lib/private/spool`, or")
    assert small["another's own"]["hint"].startswith("`sudo chown -R $USER /var/lib/private`, or")


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    (finding,) = disk.examine(config_of(tmp_path))
    assert (finding.level, finding.code) == ("failure", "not_written")
    assert finding.hint == f"sudo mv {tmp_path}/spool {tmp_path}/spool.old"


def test_what_waits_and_what_is_put_aside(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    (spool / "quarantine").mkdir(parents=True)
    fresh = UlidFactory().make(NOW_MS - 3_600_000, os.urandom(10))
    (spool / f"{fresh}.utt").touch()
    assert [finding.code for finding in disk.examine(config_of(tmp_path))] == ["works"]
    old = UlidFactory().make(NOW_MS - 3 * 86_400_000 - 1000, os.urandom(10))
    (spool / f"{old}.utt").touch()
    (spool / "quarantine" / "rubbish.utt").touch()
    waiting, aside = disk.examine(config_of(tmp_path))
    assert (waiting.level, waiting.code) == ("warning", "waiting")
    assert waiting.message == "something has waited for its text for 3 days"
    assert (aside.level, aside.code) == ("warning", "quarantine")
    assert aside.message.startswith("1 file of the spool")


def test_the_daemons_word_counts_where_the_files_are_private(tmp_path: Path) -> None:
    assert [one.code for one in disk.backlog(tmp_path / "nowhere", {"stats": {"quarantined": 2}})] == ["quarantine"]
    old = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 2 * 86_400))
    status = {"stats": {"quarantined": 0}, "backlog": {"oldest_at": old}}
    assert [one.code for one in disk.backlog(tmp_path / "nowhere", status)] == ["waiting"]


def test_what_the_daemon_says_of_the_disk() -> None:
    faults = [
        {"code": "spool", "message": "the spool is full: see `flowpi spool list`"},
        {"code": "backend", "message": "x"},
    ]
    assert disk.told({"state": {"faults": faults}}) == [
        Finding("disk", "failure", "not_written", "the spool is full", "see `flowpi spool list`")
    ]
