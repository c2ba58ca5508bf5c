"""`flowpi hook list`, `retry` and `skip`, and what is handed over to the service."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowpi.cli.hook import hook
from flowpi.cli.main import main
from flowpi.config.command import CommandSettings
from flowpi.config.loading import load
from flowpi.core.errors import HandedOverError, UnavailableError, UsageError
from flowpi.hook.service import RETRY, SKIP
from flowpi.hook.state import refused_in
from flowpi.host import paths
from flowpi.host.handover import handed_over
from flowpi.publish.messages import TextId

HOLDS = """
import signal, sys
from pathlib import Path
from flowpi.hook.state import HookState
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
state = HookState(Path(sys.argv[1]))
print("ready", flush=True)
print(int(signal.sigwait([signal.SIGUSR1, signal.SIGUSR2])), flush=True)
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "SYSTEM_HOOK_STATE", tmp_path / "flowpi-hook")
    (tmp_path / "flowpi-hook").mkdir()
    return tmp_path / "flowpi-hook"


@pytest.fixture
def running(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock, and prints the signal that it gets."""
    with subprocess.Popen([sys.executable, "-c", HOLDS, str(directory)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_what_was_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = refused_in(directory)
    refused.add("", TextId("0" * 26, 1), "ended with exit code 1")
    refused.add("", TextId("0" * 26, 2), "did not end in time")
    assert hook("list", as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{'0' * 26}: the command ended with exit code 1",
        f"{'0' * 26}.2: the command did not end in time",
    ]
    assert hook("list", as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["refused"][1] == {
        "id": "0" * 26,
        "part": 2,
        "reason": "did not end in time",
    }


def test_nothing_was_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hook("list", as_json=False) == 0
    assert capsys.readouterr() == ("", "the command refused no text\n")


@pytest.mark.parametrize(("action", "number"), [("retry", RETRY), ("skip", SKIP)])
def test_the_running_one_is_asked(running: "subprocess.Popen[str]", action: str, number: signal.Signals) -> None:
    assert hook(action, as_json=False) == 0
    assert running.stdout is not None
    assert running.stdout.readline() == f"{int(number)}\n"


@pytest.mark.parametrize("action", ["retry", "skip"])
def test_none_runs(directory: Path, action: str) -> None:
    with pytest.raises(UnavailableError, match="no `flowpi hook` runs: sudo systemctl start flowpi-hook"):
        hook(action, as_json=False)
    (directory / "lock").write_text(f"{os.getpid()}\n")  # of one that has ended
    with pytest.raises(UnavailableError):
        hook(action, as_json=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_process_of_another_user_is_not_asked(directory: Path, running: "subprocess.Popen[str]") -> None:
    """The user of the hook can write any number into its lock, and root must not send a signal there."""
    os.chown(directory, 65534, -1)
    with pytest.raises(UnavailableError, match="no `flowpi hook` runs"):
        hook("skip", as_json=False)
    os.chown(directory, 0, -1)
    hook("retry", as_json=False)
    assert running.stdout is not None
    assert running.stdout.readline() == f"{int(RETRY)}\n"  # nothing came before


@pytest.mark.parametrize("content", ["0\n", "-1\n", "99999999999999999999", "nonsense", ""])
def test_a_lock_with_no_process_in_it(directory: Path, content: str) -> None:
    with open(directory / "lock", "w") as lock:
        lock.write(content)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="no `flowpi hook` runs"):
            hook("skip", as_json=False)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/null", path)])
def test_a_lock_that_is_no_file(directory: Path, make: Callable[[Path], None]) -> None:
    make(directory / "lock")
    with pytest.raises(UnavailableError, match="no `flowpi hook` runs"):
        hook("skip", as_json=False)


def test_only_a_list_is_json(directory: Path) -> None:
    with pytest.raises(UsageError, match="for the list"):
        hook("retry", as_json=True)


class Place:
    def __init__(self, directory: Path) -> None:
        self.config = directory / "flowpi.yaml"
        self.given = directory / "given"
        self.given.mkdir()

    def hand_over(self, text: str) -> int:
        self.config.write_text(text)
        return main(["-c", str(self.config), "hook", "--hand-over", str(self.given)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_hook_gets_its_section_and_no_secret(place: Place) -> None:
    text = """\
backends: {cloud: {kind: flow, url: "wss://cloud.example/ws", client_key: of-the-daemon}}
publish: {socket: {path: /run/x.sock}, command: {run: [/bin/note, "a 'b'", "7"], timeout_s: 5}}
server: {api_keys: [of-the-server]}
"""
    assert place.hand_over(text) == 0
    config = load(handed_over(place.given))
    assert config.publish.command == CommandSettings(run=("/bin/note", "a 'b'", "7"), timeout_s=5)
    assert config.publish.socket.path == "/run/x.sock"
    (file,) = place.given.iterdir()
    assert "of-the" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640


def test_the_socket_is_that_of_the_service_also_before_it_is_there(place: Place) -> None:
    assert place.hand_over("publish: {command: {run: [/bin/note]}}") == 0
    assert load(handed_over(place.given)).publish.socket.path == "/run/flowpi/flowpi.sock"


def test_without_a_command_the_unit_is_not_started_and_nothing_is_left(place: Place) -> None:
    assert place.hand_over("publish: {command: {run: [/bin/note]}}") == 0
    assert place.hand_over("publish: {command: {timeout_s: 5}}") == 1
    assert list(place.given.iterdir()) == []


def test_the_hook_ends_with_what_is_wrong(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.hand_over("publish: {command: {run: note}}") == 0
    with pytest.raises(HandedOverError, match=r"publish\.command\.run must be a list"):
        handed_over(place.given)
    monkeypatch.setenv("FLOWPI_HANDED_OVER", str(place.given))
    assert main(["hook"]) == 78
    assert "publish.command.run must be a list" in capsys.readouterr().err


def test_a_directory_that_is_missing_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.given.rmdir()
    assert place.hand_over("publish: {command: {run: [/bin/note]}}") == 73
    assert f"cannot write to {place.given}" in capsys.readouterr().err
