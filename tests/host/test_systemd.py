import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowpi.host.systemd import Notifier, PersonFormatter, setup_logging, stderr_is_journal
from tests.waiting import PATIENCE_S


def test_messages_in_the_form_of_sd_notify(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.status("idle,\nall well")
    notifier.watchdog()
    notifier.stopping()
    said = [manager.recv(1000).decode() for _ in range(4)]
    notifier.close()
    assert said == ["READY=1", "STATUS=idle, all well", "WATCHDOG=1", "STOPPING=1"]


def test_reload_carries_the_monotonic_time(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.reloading()
    first, _, usec = manager.recv(1000).decode().partition("\nMONOTONIC_USEC=")
    notifier.close()
    assert first == "RELOADING=1"
    assert int(usec) > 0


def test_abstract_socket() -> None:
    name = f"flowpi-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name)
        end.setblocking(False)
        notifier = Notifier({"NOTIFY_SOCKET": "@" + name})
        notifier.ready()
        notifier.close()
        assert end.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/notify", "relative", "@flowpi-nobody-listens", "/" + "x" * 200])
def test_nothing_to_tell_is_harmless(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {})
    notifier.ready()
    notifier.watchdog()
    notifier.close()
    notifier.ready()


def test_a_manager_that_does_not_read_never_blocks(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(2000):
        notifier.watchdog()
    notifier.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_interval(environ: dict[str, str], interval: float | None) -> None:
    assert Notifier(environ).watchdog_interval_s == interval


def record(level: int, message: str, name: str = "flowpi.appliance.daemon") -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, (), None)


def test_a_person_reads_words() -> None:
    assert PersonFormatter().format(record(logging.WARNING, "no GPIO")) == "warning: no GPIO"


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.usefixtures("untouched_logging")
def test_a_service_logs_its_life(capfd: pytest.CaptureFixture[str]) -> None:
    setup_logging(0, service=True)
    logging.getLogger("flowpi.appliance.daemon").debug("no")
    logging.getLogger("flowpi.appliance.daemon").info("idle")
    assert capfd.readouterr() == ("", "info: idle\n")


@pytest.mark.usefixtures("untouched_logging")
def test_each_v_says_more(capfd: pytest.CaptureFixture[str]) -> None:
    for verbosity, expected in ((0, ""), (1, "info: idle\n"), (2, "debug: frame\ninfo: idle\n")):
        setup_logging(verbosity)
        logging.getLogger("flowpi.appliance.daemon").debug("frame")
        logging.getLogger("flowpi.appliance.daemon").info("idle")
        assert capfd.readouterr().err == expected


def test_why_a_service_ends_is_an_error_in_the_journal(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as journal:
        found = os.fstat(journal.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        command = [sys.executable, "-m", "flowpi", "run", "--set", "audo=1"]
        assert subprocess.run(command, stderr=journal, env=environment, timeout=PATIENCE_S).returncode == 78
    assert (tmp_path / "journal").read_text().startswith("<3>flowpi: --set: audo is not a known key")


def test_journal_stream_must_be_this_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    assert stderr_is_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
    assert not stderr_is_journal()
    monkeypatch.setenv("JOURNAL_STREAM", "nonsense")
    assert not stderr_is_journal()
