"""Who may read what flowpi writes: each file and folder of a daemon, its commands and the first boot, as root has them.

The umask is the usual 022, so nothing here is private by luck. A file of a kind that is not in the tables fails.
"""

import asyncio
import grp
import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from flowpi.publish.cursor import Cursor
from flowpi.publish.files import Transcripts
from tests.provision.card import GOOD, Card
from tests.rig.appliance import Appliance
from tests.rig.microphone import Microphone
from tests.waiting import until

DAEMONS = {
    "state": 0o700,
    "state/spool": 0o700,
    "state/spool/*.utt": 0o600,
    "state/spool/kept": 0o700,
    "state/spool/kept/*.wav": 0o600,
    "state/spool/quarantine": 0o700,
    "state/spool/quarantine/*.utt*": 0o600,
    "state/transcripts": 0o700,
    "state/transcripts/*.jsonl": 0o600,
    "state/sinks": 0o700,
    "state/sinks/*": 0o600,
    "run": 0o750,  # its group may use the socket
    "run/flowpi.sock": 0o660,
    "asr.sock": 0o660,
    "out": 0o755,  # made by the user
    "out/*.wav": 0o600,
}

SERVICES = {entry.gr_gid for entry in grp.getgrall() if entry.gr_name == "flowpi"}
"""The group of the services, on a machine that has it."""

FIRST_BOOTS = {
    "flowpi.yaml": 0o640 if SERVICES else 0o644,  # without secrets
    "credentials": 0o700,
    "credentials/*": 0o600,
    "credentials-asr": 0o700,
    "credentials-asr/*": 0o600,
}


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def found(directory: Path, table: dict[str, int]) -> set[str]:
    """Check mode and owner of everything below a directory, and return the rows of the table that are there."""
    rows = set()
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        row = next((row for row in table if fnmatch(name, row) and name.count("/") == row.count("/")), None)
        assert row is not None, f"{name} is in no row"
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        assert mode == table[row], f"{name} has the mode {mode:o}"
        assert status.st_uid == os.geteuid()
        assert status.st_gid in {os.getegid(), *SERVICES}
        rows.add(row)
    return rows


def dictate(appliance: Appliance) -> str:
    client = appliance.connect()
    utterance: str = client.record("start")["utterance"]
    assert client.record("stop")["recorded"]
    return utterance


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory in which everything is made by flowpi, but for `out`."""
    (tmp_path / "place" / "out").mkdir(parents=True)
    return tmp_path / "place"


@pytest.fixture
def appliance(tmp_path: Path, place: Path, microphone: Microphone) -> Iterator[Appliance]:
    settings = [
        "audio.device=clock",
        "spool.keep_audio=true",
        f"spool.directory={place / 'state' / 'spool'}",
        f"publish.files.directory={place / 'state' / 'transcripts'}",
        f"publish.socket.path={place / 'run' / 'flowpi.sock'}",
    ]
    with Appliance(tmp_path, *settings) as appliance:
        appliance.socket, appliance.asr = place / "run" / "flowpi.sock", place / "asr.sock"
        appliance.url = f"ws+unix://{appliance.asr}"
        yield appliance


async def test_what_the_daemon_writes_is_for_its_user_alone(appliance: Appliance, place: Path) -> None:
    daemon = appliance.start()
    damaged, whole = dictate(appliance), dictate(appliance)
    assert appliance.run("spool", "export", whole, "--to", str(place / "out")).returncode == 0
    assert found(place, DAEMONS) == {
        "state", "state/spool", "state/spool/*.utt", "state/transcripts", "run", "run/flowpi.sock", "out", "out/*.wav",
    }  # fmt: skip
    daemon.end()
    with (place / "state" / "spool" / f"{damaged}.utt").open("r+b") as file:
        file.write(bytes(8192))
    appliance.serve("echo")
    appliance.start()
    await until(lambda: not list((place / "state" / "spool").glob("*.utt")))
    await remember_a_position(place / "state")
    assert found(place, DAEMONS) == set(DAEMONS) - {"state/spool/*.utt"}


async def remember_a_position(state: Path) -> None:
    """Let a durable sink begin, of which the daemon has none yet."""
    transcripts = Transcripts(state / "transcripts", 7)
    reading = asyncio.create_task(Cursor(state / "sinks" / "one.position", transcripts).next())
    await until((state / "sinks" / "one.position").exists)
    reading.cancel()
    transcripts.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_exported_sound_is_the_callers_of_sudo(appliance: Appliance, place: Path) -> None:
    appliance.start()
    dictate(appliance)
    appliance.environment = {"SUDO_UID": "12345", "SUDO_GID": "54321"}
    assert appliance.run("spool", "export", "--to", str(place / "out")).returncode == 0
    (wav,) = (place / "out").iterdir()
    assert (wav.stat().st_uid, wav.stat().st_gid, stat.S_IMODE(wav.stat().st_mode)) == (12345, 54321, 0o600)


def test_what_the_first_boot_writes_is_for_root_and_the_services(tmp_path: Path) -> None:
    card = Card(tmp_path)
    card.leave(GOOD)
    card.etc.rmdir()
    done = card.spawn()
    assert done.returncode == 0, done.stderr
    assert found(card.etc, FIRST_BOOTS) == set(FIRST_BOOTS)
    assert stat.S_IMODE(card.etc.stat().st_mode) == 0o755
