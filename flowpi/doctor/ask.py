"""The doctor's sources: programs, files below /proc and /sys, and the daemon, each asked with a time limit."""

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
"""The command to reinstall the Debian package from where `make deb` puts it, as in docs/install.md."""


def said(*command: str) -> str | None:
    """Return the output of a program, or None if the program is missing, fails, or does not end in time."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=COMMAND_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def install_again(otherwise: str) -> str:
    """Return the command that reinstalls flowpi: `otherwise`, unless it is a Debian package."""
    return REINSTALL if owned_by_package("") else otherwise


def text_of(path: Path) -> str:
    """Return the text of a file, empty if the file cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def faults_of(config: Config) -> dict[str, str] | None:
    """Return the faults that the daemon reports, as messages by code, or None if no daemon answers."""
    status = status_of(config)
    return None if status is None else {fault["code"]: fault["message"] for fault in status["state"]["faults"]}


def status_of(config: Config) -> dict[str, Any] | None:
    """Return the daemon's `status`, or None if no daemon answers."""
    try:
        with DaemonConnection(config) as connection:
            status: dict[str, Any] = connection.ask({"command": "status"})["status"]
            return status
    except (FlowpiError, OSError, KeyError):
        return None


def levels_of(config: Config, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the daemon's input level, ten times a second, for `seconds` or until the daemon stops.

    Raises:
        FlowpiError: no daemon answers.
    """
    with DaemonConnection(config) as connection:
        yield from _within(connection, topics.LEVEL, seconds)


def events_of(
    config: Config, topic: str, seconds: float, ready: Callable[[], None] = lambda: None
) -> Iterator[dict[str, Any]]:
    """Yield the payloads of a topic, for `seconds` or until the daemon stops.

    Args:
        config: the configuration, for the socket of the daemon.
        topic: the topic to subscribe to.
        seconds: how long to listen.
        ready: called when the daemon has answered.

    Raises:
        FlowpiError: no daemon answers.
    """
    with DaemonConnection(config) as connection:
        ready()
        yield from _within(connection, topic, seconds)


def _within(connection: DaemonConnection, topic: str, seconds: float) -> Iterator[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    with contextlib.suppress(OSError, ValueError, FlowpiError):
        for message in connection.subscribe([topic], until=deadline):
            yield message["payload"]
