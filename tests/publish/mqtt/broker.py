"""A real Mosquitto as a process of a test, with levers, and a client that reads along."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.ports import free_port
from tests.waiting import wait_for

PROGRAM = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
BY_DEFAULT = "persistence true"
"""It saves every 30 minutes, and at its end: Debian's configuration."""
EACH_CHANGE = f"{BY_DEFAULT}\nautosave_interval 1\nautosave_on_changes true"


class Broker:
    """A broker on loopback. Its files are in a directory, where it finds them again when it is started anew."""

    def __init__(self, directory: Path, lines: str = "", *, anonymous: bool = True, saves: str = EACH_CHANGE) -> None:
        """
        Args:
            lines: more of mosquitto.conf.
            saves: its lines about what it saves.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self._config = directory / "mosquitto.conf"
        self._config.write_text(
            # Started by root it would become another user, who may not read the directories of tests.
            f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous {str(anonymous).lower()}\n{saves}\n"
            f"persistence_location {directory}/\nlog_type all\n{lines}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert PROGRAM is not None, "mosquitto is not installed"
        with open(self.directory / "log", "ab") as log:
            process = subprocess.Popen([PROGRAM, "-c", self._config], stdout=log, stderr=log)
        self._process = process

        def listens() -> bool:
            assert process.poll() is None, self.log
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                return False
            return True

        wait_for(listens)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it as a service manager does, also if it is frozen: it saves, and reads nothing more."""
        if self._process is not None:
            self._process.terminate()
            self.thaw()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Delete what it saved. It must not run."""
        (self.directory / "mosquitto.db").unlink(missing_ok=True)

    def save(self) -> None:
        """Have it save all that it has now. A client must have connected before."""
        assert self._process is not None
        before = self.saved
        self._process.send_signal(signal.SIGUSR1)
        wait_for(lambda: self.saved > before)

    @property
    def saved(self) -> int:
        """When it saved last, in nanoseconds."""
        file = self.directory / "mosquitto.db"
        return file.stat().st_mtime_ns if file.exists() else 0

    @property
    def runs(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@cache
def shared_broker() -> Broker:
    """Return a broker that runs as long as this process, for tests that do it no harm."""
    directory = tempfile.TemporaryDirectory(prefix="broker-")
    broker = Broker(Path(directory.name))
    broker.start()
    atexit.register(directory.cleanup)
    atexit.register(broker.kill)  # before the directory is deleted
    return broker


class Heard(NamedTuple):
    """A message that a reader received."""

    topic: str
    payload: bytes
    retained: bool
    properties: Any

    @property
    def json(self) -> Any:
        return json.loads(self.payload)


class Reader:
    """Another client of the broker."""

    def __init__(self, port: int, *filters: str, login: tuple[str, str] | None = None) -> None:
        self.heard: list[Heard] = []
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if login is not None:
            client.username_pw_set(*login)
        self._ready = False
        wanted = [(one, 1) for one in filters or ("unused",)]

        def connected(*_: Any) -> None:
            client.subscribe(wanted)

        client.on_connect = connected
        client.on_subscribe = lambda *_: setattr(self, "_ready", True)
        client.on_message = lambda _, __, message: self.heard.append(
            Heard(message.topic, bytes(message.payload), message.retain, message.properties)
        )
        client.connect("127.0.0.1", port)
        client.loop_start()
        wait_for(lambda: self._ready)

    def of(self, topic: str) -> list[Heard]:
        """Return what was heard of the topics that end so, in order."""
        return [one for one in self.heard if one.topic.endswith(topic)]

    def say(self, topic: str, payload: bytes, *, retain: bool = False, properties: Any = None) -> None:
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(10)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def write_users(path: Path, passwords: dict[str, str]) -> None:
    """Write a password file."""
    path.write_text("".join(f"{name}:{password}\n" for name, password in passwords.items()))
    path.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", path], check=True)


def make_certificates(directory: Path, host: str = "localhost", days: int = 2) -> None:
    """Make an authority, `ca.pem`, and its certificate for a host, `server.pem` with `server.key`."""
    directory.mkdir(parents=True, exist_ok=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(
        directory, ["req", "-x509", *ec, "-subj", "/CN=test authority", *usage, "-keyout", "ca.key", "-out", "ca.pem"]
    )
    _openssl(directory, ["req", *ec, "-subj", f"/CN={host}", "-keyout", "server.key", "-out", "server.csr"])
    (directory / "ext").write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", str(days), "-extfile", "ext"]
    _openssl(directory, ["x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem"])


def _openssl(directory: Path, words: Iterable[str]) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
