"""Talking to the service manager: sd_notify, the watchdog's interval, where the log goes.

The protocol is one datagram to $NOTIFY_SOCKET (sd_notify(3)). Nothing here can hurt the daemon: without systemd, or
with a socket that does not take it, a message is dropped.
"""

import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from flowpi.host.journal import JournalHandler


class Notifier:
    """The daemon's word to systemd. Call from the main process: the unit has NotifyAccess=main.

    Attributes:
        watchdog_interval_s: how often to call `watchdog()`, or None where nobody waits for it.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            address = "\0" + address[1:]  # abstract
        self._address = address if address[:1] in ("/", "\0") else ""
        self._socket: socket.socket | None = None
        self.watchdog_interval_s = _watchdog_interval_s(environ)

    def ready(self) -> None:
        """Start-up or reload is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload has begun; `ready()` ends it. The time stamp tells systemd which reload is meant."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> None:
        """The pipeline has made progress."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._address = ""

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A full or missing socket is systemd's trouble: it must never stop a dictation, nor block the loop.
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), self._address)


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Half of what the unit allows. The watchdog is ours if no process, or this one, is named."""
    try:
        usec = int(environ.get("WATCHDOG_USEC", "0"))
        ours = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except ValueError:
        return None
    return usec / 2e6 if usec > 0 and ours else None


LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class PersonFormatter(logging.Formatter):
    """`warning: message`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


def setup_logging(verbosity: int, *, service: bool = False) -> None:
    """Send the log to stderr, or to the journal if that is the journal. Called once, by the command line.

    Args:
        verbosity: how many `-v` were given: warnings, then INFO, then DEBUG.
        service: True for `run` and `serve`, whose INFO lines are always wanted.
    """
    handler: logging.StreamHandler[TextIO]
    if stderr_is_journal():
        handler = JournalHandler()
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PersonFormatter())
    level = LEVELS[min(verbosity + service, len(LEVELS) - 1)]
    logging.basicConfig(level=level, handlers=[handler], force=True)


def stderr_is_journal() -> bool:
    """$JOURNAL_STREAM names device and inode of the stream that systemd gave; stderr may be another by now."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(2)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (ValueError, OSError):
        return False
