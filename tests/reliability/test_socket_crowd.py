"""The local socket stands any crowd: no sound is lost, others are answered, and the daemon stays within its memory."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.audio.listening import missing, wait_until
from tests.rig.appliance import Appliance
from tests.rig.cgroup import MemoryLimit
from tests.rig.microphone import Microphone
from tests.waiting import wait_for

SPEECH_S = 2.5
UNIT_MEMORY = 256 << 20
"""`MemoryMax=` of flowpi.service."""


@pytest.fixture
def appliance(tmp_path: Path, microphone: Microphone) -> Iterator[Appliance]:
    with Appliance(tmp_path, "audio.device=clock", "spool.keep_audio=true") as appliance:
        yield appliance


@contextlib.contextmanager
def crowd(appliance: Appliance, kind: str, clients: int) -> Iterator[None]:
    """Clients that do as `kind` says, and have all begun."""
    command = [sys.executable, "-m", "tests.reliability.crowd", kind, str(appliance.socket), str(clients)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("kind", "clients"),
    [("blank", 8), ("subscribe", 1000), ("subscribe again", 8), ("status", 8), ("reads nothing", 200)],
    ids=lambda value: str(value).replace(" ", "_"),
)
def test_no_sound_is_lost_and_others_are_answered(
    appliance: Appliance, kind: str, clients: int, measured: Callable[..., None]
) -> None:
    appliance.serve("echo")
    daemon = appliance.start()
    client = appliance.connect().subscribe("transcript/final", "stats")
    other = appliance.connect()
    answers_s = []
    assert client.record("start")["ok"]
    with crowd(appliance, kind, clients):
        end = time.monotonic() + SPEECH_S
        while time.monotonic() < end:
            asked_at = time.monotonic()
            assert other.command(command="status")["ok"]
            answers_s.append(time.monotonic() - asked_at)
            wait_until(time.monotonic() + 0.05)
        assert client.record("stop")["recorded"]
        final = client.wait("transcript/final")
        daemon.check()
    assert not final.get("lost_ms")
    assert missing(appliance.kept()) == []
    assert len(daemon.log.read_text().splitlines()) < 200
    measured(clients=clients, lost_ms=0, answer_ms=round(1000 * max(answers_s)))


def test_a_thousand_that_do_not_read_fit_into_the_memory_of_the_unit(
    appliance: Appliance, measured: Callable[..., None]
) -> None:
    appliance.serve("echo")
    daemon = appliance.start()
    for _ in range(30):  # so that there is something to answer with
        client = appliance.connect()
        client.record("start")
        client.record("stop")
        client.close()
    with MemoryLimit(UNIT_MEMORY) as memory:
        memory.add(daemon.process.pid)
        with crowd(appliance, "reads nothing", 1000):
            wait_until(time.monotonic() + SPEECH_S)
            daemon.check()
            client = appliance.connect()
            assert client.command(command="status")["ok"]
            used = memory.usage
        assert daemon.end() == 0
    measured(clients=1000, memory_mib=used >> 20, killed=0)


def test_a_deleted_socket_comes_back(appliance: Appliance) -> None:
    daemon = appliance.start()
    client = appliance.connect()
    for _ in range(3):
        appliance.socket.unlink()
        wait_for(lambda: appliance.run("status").returncode == 0)
    assert client.command(command="status")["ok"], "who was connected stays so"
    assert "was deleted, and is made again" in daemon.log.read_text()
