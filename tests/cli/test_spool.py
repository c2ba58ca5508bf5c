"""`flowpi spool` with a real daemon, and without one."""

import json
import os
import stat
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.sound import ulid
from tests.terminal import acting

Make = Callable[..., Appliance]


@pytest.fixture
def make(tmp_path: Path, microphone: Microphone) -> Iterator[Make]:
    made: list[Appliance] = []

    def make(*settings: str, **options: Any) -> Appliance:
        made.append(Appliance(tmp_path, "audio.device=clock", *settings, **options))
        return made[-1]

    yield make
    for appliance in made:
        appliance.__exit__(None, None, None)


def dictate(appliance: Appliance) -> str:
    """Dictate something short, wait until it is kept or delivered, and return its id."""
    client = appliance.connect()
    utterance: str = client.record("start")["utterance"]
    assert client.record("stop")["recorded"]
    return utterance


def kept(make: Make, *settings: str) -> tuple[Appliance, list[str]]:
    """Start a daemon whose backend is not running, and dictate two utterances. Returns the daemon and their ids."""
    appliance = make(*settings)
    appliance.start()
    ids = [dictate(appliance) for _ in range(2)]
    client = appliance.connect().subscribe("state")
    client.wait("state", lambda state: state["spooled"] == 2 and state["state"] == "idle")
    return appliance, ids


def listed(appliance: Appliance) -> list[dict[str, Any]]:
    done = appliance.run("spool", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_what_waits_is_listed_with_its_reason(make: Make) -> None:
    appliance, ids = kept(make)
    found = listed(appliance)
    assert [one["id"] for one in found] == ids
    assert all("not reached" in one["reason"] for one in found)
    lines = appliance.run("spool", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ids
    assert "not reached" in lines[0]
    status = json.loads(appliance.run("status", "--json").stdout)
    assert status["backlog"]["count"] == 2
    assert status["backlog"]["oldest_at"] == found[0]["said_at"]
    assert "the oldest since" in appliance.run("status").stdout


def test_the_sound_comes_out_as_a_wav_and_stays(make: Make, tmp_path: Path) -> None:
    appliance, ids = kept(make)
    to = tmp_path / "out"
    to.mkdir()
    done = appliance.run("spool", "export", ids[1], "--to", str(to))
    assert done.stdout == f"{to / ids[1]}.wav\n"
    with wave.open(str(to / f"{ids[1]}.wav")) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() > 1000
    assert appliance.spooled() == ids
    again = appliance.run("spool", "export", "--to", str(to))
    assert again.returncode == 73
    assert "File exists" in again.stderr
    nowhere = appliance.run("spool", "export", "--to", str(tmp_path / "nowhere"))
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (66, 1)


def test_one_is_dropped_and_the_others_stay(make: Make) -> None:
    appliance, ids = kept(make)
    assert appliance.run("spool", "drop", ids[0]).stdout == "1 utterance dropped\n"
    assert [one["id"] for one in listed(appliance)] == [ids[1]]
    appliance.connect().subscribe("state").wait("state", lambda state: state["spooled"] == 1)
    assert appliance.run("spool", "drop").returncode == 64
    assert appliance.run("spool", "drop", ids[0]).returncode == 64
    assert appliance.run("spool", "drop", "--all").stdout == "1 utterance dropped\n"
    assert listed(appliance) == []
    appliance.kept_nothing()


def test_a_retry_is_made_at_once(make: Make) -> None:
    appliance, ids = kept(make)
    client = appliance.connect().subscribe("transcript/final")
    appliance.serve("echo")
    assert appliance.run("spool", "retry").stdout.endswith(" will be tried now\n")
    finals = [client.wait("transcript/final") for _ in ids]
    assert [final["id"] for final in finals] == ids
    assert all(final["late"] for final in finals)
    appliance.kept_nothing()


def test_without_a_daemon_the_spool_itself_is_read(make: Make, tmp_path: Path) -> None:
    appliance, ids = kept(make)
    assert appliance.daemon
    appliance.daemon.end()
    done = appliance.run("spool", "list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ids
    assert "no daemon runs" in done.stderr
    assert appliance.run("spool", "retry").returncode == 69
    assert appliance.run("spool", "export", "--to", str(tmp_path)).stdout.count(".wav\n") == 2
    assert appliance.run("spool", "drop", ids[1]).returncode == 0
    assert appliance.spooled() == [ids[0]]


def test_a_quarantined_file_is_listed_tried_again_and_dropped(make: Make) -> None:
    appliance, ids = kept(make)
    assert appliance.daemon
    appliance.daemon.end()
    (appliance.spool / f"{ids[0]}.utt").write_bytes(b"rubbish")
    appliance.start()
    client = appliance.connect().subscribe("state")
    client.wait("state", lambda state: "quarantine" in [fault["code"] for fault in state["faults"]])
    states = {one["id"]: one["state"] for one in listed(appliance)}
    assert states == {ids[0]: "quarantined", ids[1]: "waiting"}
    assert appliance.run("spool", "retry", ids[0]).returncode == 0
    client.wait("state", lambda state: "quarantine" in [fault["code"] for fault in state["faults"]])
    assert appliance.run("spool", "drop", ids[0]).returncode == 0
    client.wait("state", lambda state: "quarantine" not in [fault["code"] for fault in state["faults"]])
    assert list((appliance.spool / "quarantine").iterdir()) == []


KINDS = {"a directory": stat.S_IFDIR, "a FIFO": stat.S_IFIFO, "a socket": stat.S_IFSOCK, "a symbolic link": 0}


def plant(appliance: Appliance, folder: str = "") -> dict[str, str]:
    """Plant one of each kind, under the names of utterances. Returns the kind by id."""
    home = appliance.spool / folder
    home.mkdir(parents=True, exist_ok=True)
    planted = {ulid(number): kind for number, kind in enumerate(KINDS, 1)}
    for name, kind in planted.items():
        match KINDS[kind]:
            case 0:
                (home / f"{name}.utt").symlink_to("/etc/passwd")
            case stat.S_IFDIR:
                (home / f"{name}.utt").mkdir()
            case number:
                os.mknod(home / f"{name}.utt", number | 0o600)
    return planted


@pytest.mark.parametrize("when", ["before the start", "while it runs", "without a daemon"])
def test_what_is_planted_has_a_reason_and_stops_nothing(make: Make, tmp_path: Path, when: str) -> None:
    appliance, ids = kept(make)
    assert appliance.daemon
    if when != "while it runs":
        appliance.daemon.end()
    planted = plant(appliance)
    plant(appliance, "quarantine")
    (appliance.spool / "quarantine" / os.fsdecode(b"\xff\x1b[2J")).touch()
    if when == "before the start":
        appliance.start()
        state = appliance.connect().subscribe("state")
        state.wait("state", lambda state: any("9 files" in fault["message"] for fault in state["faults"]))
    reasons = sorted((one["id"], one["reason"]) for one in listed(appliance) if one["id"] in planted)
    assert reasons == sorted(2 * [(name, f"its file cannot be read (it is {kind})") for name, kind in planted.items()])
    assert not any(map(acting, appliance.run("spool", "list").stdout.splitlines()))
    if when != "without a daemon":
        retried = appliance.run("spool", "retry")
        assert retried.returncode == 74
        assert "'quarantine/%FF%1B[2J' does not have the name of an utterance: drop it" in retried.stderr
    (tmp_path / "out").mkdir()
    exported = appliance.run("spool", "export", "--to", str(tmp_path / "out"))
    assert (exported.returncode, exported.stdout.count(".wav\n")) == (65, len(ids))
    assert appliance.run("spool", "drop", "--all").returncode == 0
    assert listed(appliance) == []
    assert [path.name for path in appliance.spool.iterdir()] == ["quarantine"]


def test_one_that_cannot_be_dropped_keeps_no_other(make: Make) -> None:
    appliance, ids = kept(make)
    (appliance.spool / f"{ulid(1)}.utt").mkdir()
    (appliance.spool / f"{ulid(1)}.utt" / "file").touch()
    for running in (True, False):
        dropped = appliance.run("spool", "drop", "--all")
        assert dropped.returncode == 74
        assert "cannot be deleted (Directory not empty): delete what is in it" in dropped.stderr
        assert [one["id"] for one in listed(appliance)] == [ulid(1)]
        if running:
            assert appliance.daemon
            appliance.daemon.end()
            (appliance.spool / f"{ids[0]}.utt").write_bytes(b"rubbish")


def test_a_dictation_in_two_parts_is_named_by_part(make: Make) -> None:
    appliance = make("dictation.max_utterance_s=5", "audio.preroll_ms=0")
    appliance.start()
    client = appliance.connect().subscribe("state")
    utterance = client.record("start")["utterance"]
    client.wait("state", lambda state: state["spooled"] == 1)  # the first part, while the second one is spoken
    assert client.record("stop")["recorded"]
    client.wait("state", lambda state: state["spooled"] == 2)
    assert [(one["id"], one["part"]) for one in listed(appliance)] == [(utterance, 1), (utterance, 2)]
    assert [one["name"] for one in listed(appliance)] == [f"{utterance}.1", f"{utterance}.2"]
    assert appliance.run("spool", "drop", f"{utterance}.1").stdout == "1 utterance dropped\n"
    assert appliance.spooled() == [f"{utterance}.2"]
    assert appliance.run("spool", "drop", utterance).returncode == 0
    appliance.kept_nothing()
