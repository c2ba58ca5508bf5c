"""What the doctor asks: programs, files below /proc and /sys, the daemon. Each in seconds, or not at all."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.core.errors import FlowpiError
from flowpi.setup.machine import owned_by_package

COMMAND_S = 10.0

REINSTALL = "sudo apt-get install --reinstall --yes ./dist/flowpi_*.deb"
"""Where `make deb` left it, as docs/install.md says."""


def said(*command: str) -> str | None:
    """What a program prints; None if it is not there, fails, or does not end in time."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def install_again(otherwise: str) -> str:
    """The command that brings back what is missing of flowpi. `otherwise`: where it is no Debian package."""
    return REINSTALL if owned_by_package("") else otherwise


def text_of(path: Path) -> str:
    """Empty if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def faults_of(config: Config) -> dict[str, str] | None:
    """The daemon's faults, message by code; None if no daemon answers."""
    status = status_of(config)
    return None if status is None else {fault["code"]: fault["message"] for fault in status["state"]["faults"]}


def status_of(config: Config) -> dict[str, Any] | None:
    """The daemon's `status`; None if no daemon answers."""
    try:
        with DaemonConnection(config) as connection:
            status: dict[str, Any] = connection.ask({"command": "status"})["status"]
            return status
    except (FlowpiError, OSError, KeyError):
        return None


def levels_of(config: Config, seconds: float) -> Iterator[dict[str, Any]]:
    """What the running daemon hears, ten times a second. Ends after `seconds`, or when the daemon goes away.

    Raises:
        FlowpiError: no daemon answers.
    """
    with DaemonConnection(config) as connection:
        yield from _within(connection, topics.LEVEL, seconds)


def events_of(
    config: Config, topic: str, seconds: float, ready: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """The payloads of any topic, as `levels_of`. `ready` is called when the daemon has answered."""
    with DaemonConnection(config) as connection:
        ready()
        yield from _within(connection, topic, seconds)


def _within(connection: DaemonConnection, topic: str, seconds: float) -> Iterator[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError, ValueError, FlowpiError):
        for message in connection.subscribe([topic], until=deadline):
            yield message["payload"]
