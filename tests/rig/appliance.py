"""The whole appliance with levers: a server and a daemon as processes, the test microphone, a client of the socket.

The daemon is `flowpi run` with an LED that records what it shows (`led.py` beside this file).
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.waiting import PATIENCE_S, wait_for


class Socket:
    """A client of the local socket. Every wait ends with a failed test after `PATIENCE_S`."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))  # blocking: a full queue of the daemon makes it wait
        self._socket.settimeout(PATIENCE_S)
        self._lines = self._socket.makefile("rb")
        self._unread: list[dict[str, Any]] = []
        """The messages that arrived before the answer to a command."""
        self.hello = self.read()["hello"]

    def send(self, message: dict[str, Any] | bytes) -> None:
        self._socket.sendall(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        return self._unread.pop(0) if self._unread else self._receive()

    def _receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, "the daemon closed the connection"
        message: dict[str, Any] = json.loads(line)
        return message

    def subscribe(self, *filters: str) -> Self:
        self.send({"subscribe": list(filters)})
        assert self.read() == {"subscribed": list(filters)}
        return self

    def wait(self, topic: str, wanted: Callable[[Any], bool] = lambda payload: True) -> Any:
        """Return the payload of the next wanted message of a topic."""
        while True:
            message = self.read()
            if message.get("topic") == topic and wanted(message["payload"]):
                return message["payload"]

    def command(self, **command: Any) -> dict[str, Any]:
        self.send({**command, "request": 1})
        while "response" not in (message := self._receive()):
            self._unread.append(message)
        return message

    def record(self, action: str) -> dict[str, Any]:
        return self.command(command="record", action=action)

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Process:
    """A process of flowpi that reports readiness by systemd's notification protocol."""

    def __init__(self, command: Sequence[str], directory: Path, environment: dict[str, str]) -> None:
        self.log = directory / f"{command[2].replace('.', '-')}.log"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = directory / f"notify-{time.monotonic_ns()}"
        self._notify.bind(str(address))
        self.notices: list[str] = []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **environment, "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def notice(self, start: str) -> str:
        """Wait for a notice that begins with the prefix."""
        deadline = time.monotonic() + PATIENCE_S
        seen = 0
        while True:
            for text in self.notices[seen:]:
                seen += 1
                if text.startswith(start):
                    return text
            left = deadline - time.monotonic()
            self.check()
            assert left > 0, f"no {start!r} among {self.notices}:\n{self.log.read_text()}"
            if select.select([self._notify], [], [], min(left, 0.2))[0]:
                self.notices += self._notify.recv(65536).decode().splitlines()

    def check(self) -> None:
        """Check that the process is running."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self.hear()
        return code

    def hear(self) -> None:
        """Read the notices that have arrived."""
        while select.select([self._notify], [], [], 0)[0]:
            self.notices += self._notify.recv(65536).decode().splitlines()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._notify.close()


class Appliance:
    """The appliance. `directory` has all of its state; another object on it is the same appliance after a crash."""

    def __init__(
        self,
        directory: Path,
        *settings: str,
        backend: str = "",
        environment: dict[str, str] | None = None,
        config: Path | None = None,
    ) -> None:
        """
        Args:
            backend: more members of the backend, as YAML.
            settings: more settings, as for `--set`.
            config: a whole configuration instead.
        """
        self.directory = directory
        self.socket = directory / "flowpi.sock"
        self.spool = directory / "spool"
        self.asr = directory / "asr.sock"
        self.url = f"ws+unix://{self.asr}"
        self.settings = list(settings)
        self.backend = backend
        self.environment = environment or {}
        self._config = config
        self.server: Process | None = None
        self.daemon: Process | None = None
        self._clients: list[Socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for client in self._clients:
            client.close()
        for process in (self.daemon, self.server):
            if process is not None:
                process.close()

    @property
    def options(self) -> list[str]:
        """Return the configuration as options of any command."""
        if self._config is not None:
            return ["-c", str(self._config)]
        settings = [
            f"publish.socket.path={self.socket}",
            f"publish.files.directory={self.directory / 'transcripts'}",
            f"spool.directory={self.spool}",
            f"backends={{local: {{kind: flow, url: '{self.url}'{self.backend and ', ' + self.backend}}}}}",
            *self.settings,
        ]
        return [word for setting in settings for word in ("--set", setting)]

    def serve(self, engine: str, listen: str | None = None, *settings: str) -> Process:
        listen = listen or f"unix:{self.asr}"
        options = [word for setting in (f"server.engine={engine}", *settings) for word in ("--set", setting)]
        command = ["-m", "flowpi", "serve", *options, "--listen", listen]
        self.server = Process(command, self.directory, self.environment)
        self.server.notice("READY=1")
        return self.server

    def start(self, *command: str) -> Process:
        """Start the daemon, or start it again if it has ended, and wait until it is ready."""
        if self.daemon is not None:
            self.daemon.close()
        led = ["-m", "tests.rig.led", str(self.directory / "led"), *self.options, *command]
        before = len(self.lights())
        self.daemon = Process(led, self.directory, self.environment)
        self.daemon.notice("READY=1")
        # READY comes before the LED is opened, has shown the start, and shows it again until it can be seen.
        while len(self.lights()) < before + 3:
            self.daemon.check()
            select.select([], [], [], 0.01)
        return self.daemon

    def flowpi(self, *words: str) -> tuple[int, str, str]:
        """Run a command to its end, and return its exit code, stdout and stderr."""
        command = [sys.executable, "-m", "flowpi", *words, *self.options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        return done.returncode, done.stdout, done.stderr

    def connect(self) -> Socket:
        self._clients.append(Socket(self.socket))
        return self._clients[-1]

    def clients(self) -> int:
        """Return the number of programs connected to the daemon's socket, as the kernel reports it."""
        connected = "03"
        lines = Path("/proc/net/unix").read_text().splitlines()
        return sum(line.endswith(str(self.socket)) and line.split()[5] == connected for line in lines)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of flowpi with this configuration."""
        return subprocess.run(
            [sys.executable, "-m", "flowpi", *command, *self.options],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_S,
        )

    def transcripts(self) -> list[dict[str, Any]]:
        files = sorted((self.directory / "transcripts").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def spooled(self) -> list[str]:
        return sorted(path.stem for path in self.spool.glob("*.utt"))

    def kept_nothing(self) -> None:
        """Wait until the spool is empty, which it is a moment after a text is published."""
        wait_for(lambda: not self.spooled())

    def kept(self) -> bytes:
        """Return the PCM of the one dictation that `spool.keep_audio` kept."""
        self.kept_nothing()
        (path,) = (self.spool / "kept").glob("*.wav")
        with wave.open(str(path)) as file:
            pcm: bytes = file.readframes(file.getnframes())
            return pcm

    def lights(self) -> list[tuple[float, float]]:
        """Return what the LED showed: (monotonic seconds, brightness)."""
        file = self.directory / "led"
        lines = file.read_text().split("\n") if file.exists() else []
        return [(float(at), float(brightness)) for at, brightness in (line.split() for line in lines if line)]


@contextlib.contextmanager
def stopped(process: Process) -> Iterator[None]:
    """Stop the process while the context lasts."""
    process.send(signal.SIGSTOP)
    os.waitid(os.P_PID, process.process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        process.send(signal.SIGCONT)
