"""The processes of the bench from outside: starting them, and what the kernel reports about each."""

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from tests.bench.sink import Addresses, Session
from tests.rig.microphone import Microphone
from tests.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]
T1 = Path(__file__).with_name("t1.py")
RELAY = Path(__file__).with_name("relay.py")
PATH = f"{os.environ['PATH']}:/usr/sbin"
FLOWPI = "import sys; from flowpi.cli.main import main; sys.exit(main())"
"""The code of the installed `flowpi`."""


def require(*programs: str) -> None:
    """Check that these programs are installed. Raises SystemExit with what to install if not."""
    if absent := [program for program in programs if shutil.which(program, path=PATH) is None]:
        raise SystemExit(
            f"bench: no {' and no '.join(absent)} here: sudo apt-get install -y alsa-utils mosquitto socat"
        )


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU seconds of processes since their start, to the ns, including threads that have ended."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)  # clock_getcpuclockid(3), of the scheduler


def wake_ups(pids: Sequence[int]) -> int:
    """Return the voluntary context switches of all threads so far."""
    switches = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            switches += int(_field(status.read_text(), "voluntary_ctxt_switches"))
    return switches


def memory_mb(pid: int) -> tuple[float, float]:
    """Return the resident memory now, and its maximum so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(_field(status, "VmRSS")) / 1024, int(_field(status, "VmHWM")) / 1024


def _field(status: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    assert found, name
    return found[1]


class Sink:
    """`tests.bench.sink` as a process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sink"], cwd=REPOSITORY, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        self._lines = self._process.stdout
        self.addresses = msgspec.json.decode(self._lines.readline(), type=Addresses)
        self._sessions: queue.SimpleQueue[Session] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="sink", daemon=True).start()

    def session(self) -> Session:
        """Wait for the next session that has ended, and return it."""
        return self._sessions.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()

    def _read(self) -> None:
        for line in self._lines:
            self._sessions.put(msgspec.json.decode(line, type=Session))


class Bench:
    """What all measurements share: a microphone that encodes the time, the sink, and a directory.

    `environ` is for programs that record from the microphone, as ALSA device `default`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "microphone").mkdir()
        self._microphone = Microphone(directory / "microphone")
        asoundrc = directory / "asound.conf"
        asoundrc.write_text(f"<{self._microphone.config_path}>\npcm.!default steady\n")
        # Without variables that distort: PYTHONDONTWRITEBYTECODE alone would make every start compile flowpi again.
        ours = ("FLOWPI_", "NOTIFY_", "PYTHON", "WATCHDOG_")
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "ALSA_CONFIG_PATH": str(asoundrc),
            "PYTHONPATH": str(REPOSITORY),
        }
        self.sink = Sink()
        self._numbers = iter(range(1_000_000))

    def close(self) -> None:
        self.sink.close()
        self._microphone.close()

    def fresh_directory(self) -> Path:
        directory = self.directory / f"run-{next(self._numbers)}"
        directory.mkdir()
        return directory

    @contextlib.contextmanager
    def t1(self) -> Iterator[list[int]]:
        """Run T1 for the length of a block, and yield its pids while it streams."""
        command = [sys.executable, "-W", "ignore", str(T1), "default", f"{self.sink.addresses.flow}/t1"]
        with subprocess.Popen(command, env=self.environ) as process:
            try:
                yield [process.pid]
            finally:
                process.kill()

    @contextlib.contextmanager
    def relay(self) -> Iterator[Path]:
        """Run the shortest program that answers a button with a text, and yield its socket."""
        path = self.fresh_directory() / "relay.sock"
        command = [sys.executable, str(RELAY), "default", f"{self.sink.addresses.flow}/relay", str(path)]
        with subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout
                assert process.stdout.readline()
                yield path
            finally:
                process.kill()

    @contextlib.contextmanager
    def pipe(self, options: str = "") -> Iterator[list[int]]:
        """Run `arecord | socat`, with more options of arecord, and yield the pids while it streams."""
        record = f"arecord -q -D default -t raw -f S16_LE -r 16000 -c 1 {options}"
        to = f"TCP:127.0.0.1:{self.sink.addresses.raw_port}"
        with (
            subprocess.Popen(record.split(), env=self.environ, stdout=subprocess.PIPE) as arecord,
            subprocess.Popen(["socat", "-u", "STDIN", to], stdin=arecord.stdout) as socat,
        ):
            try:
                yield [arecord.pid, socat.pid]
            finally:
                arecord.kill()
                socat.kill()


class Service:
    """A command of `flowpi` as a process with its output in `log`. It is ready once its block is entered."""

    def __init__(self, bench: Bench, command: str, settings: Sequence[str]) -> None:
        """`settings`: KEY=VALUE."""
        self._directory = bench.fresh_directory()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.settimeout(PATIENCE_S)
        self._notify.bind(str(self._directory / "notify"))
        self.log = self._directory / "log"
        words = [sys.executable, "-c", FLOWPI, command, *(f"--set={setting}" for setting in settings)]
        environ = {
            **bench.environ,
            "NOTIFY_SOCKET": str(self._directory / "notify"),
            "STATE_DIRECTORY": str(self._directory / "state"),
            "RUNTIME_DIRECTORY": str(self._directory),
        }
        with self.log.open("w") as log:
            self.spawned_at = time.monotonic()
            self._process = subprocess.Popen(words, cwd=REPOSITORY, env=environ, stderr=log)
        self.pid = self._process.pid
        self.ready_at = self._wait_ready()

    def _wait_ready(self) -> float:
        try:
            while b"READY=1" not in self._notify.recv(4096):
                pass
        except TimeoutError:
            self._process.kill()
            raise RuntimeError(f"flowpi did not get ready:\n{self.log.read_text()}") from None
        return time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._notify.close()
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise


class Daemon(Service):
    """`flowpi run`. It accepts commands once its block is entered."""

    def __init__(self, bench: Bench, *settings: str, config: bool = True) -> None:
        """`config`: use the sink as backend; if false, use only built-in defaults, and no settings."""
        url = f"backends.local={{kind: flow, url: '{bench.sink.addresses.flow}/flowpi'}}"
        super().__init__(bench, "run", (url, *settings) if config else ())

    @property
    def socket(self) -> Path:
        return self._directory / "flowpi.sock"


class Hook(Service):
    """`flowpi hook` with a command that does nothing, as a client of the socket of a daemon."""

    def __init__(self, bench: Bench, path: Path) -> None:
        super().__init__(bench, "hook", (f"publish.socket.path={path}", "publish.command.run=['/bin/true']"))


class Client:
    """One connection to the daemon's local socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")
        self.read()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        return message

    def send(self, request: dict[str, Any]) -> float:
        """Send a request, and return when it was written, in monotonic seconds."""
        line = json.dumps(request).encode() + b"\n"
        at = time.monotonic()
        self._socket.sendall(line)
        return at

    def subscribe(self, *filters: str) -> None:
        self.send({"subscribe": filters})
        self.read()

    def record(self, action: str) -> float:
        """Send a command and wait for its response; return when the command was written."""
        at = self.send({"command": "record", "action": action, "request": 1})
        answer = self.read()
        assert answer["ok"], answer
        return at
