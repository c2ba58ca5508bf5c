"""The service manager: sd_notify, the watchdog, and the destination of the log.

The protocol is one datagram to $NOTIFY_SOCKET (sd_notify(3)). Nothing here can stop the daemon: without systemd, or if
the socket does not accept it, a message is dropped.
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
    """Sends notifications to systemd. Use it in the main process: the unit has NotifyAccess=main.

    Attributes:
        watchdog_interval_s: how often to call `watchdog()`, in seconds, or None if no watchdog is set.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        if address.startswith("@"):
            address = "\0" + address[1:]  # a socket in the abstract namespace
        self._address = address if address[:1] in ("/", "\0") else ""
        self._socket: socket.socket | None = None
        self.watchdog_interval_s = _watchdog_interval_s(environ)

    def ready(self) -> None:
        """Report that the start or a reload is done."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that a reload has begun; `ready()` ends it. By the time stamp systemd identifies the reload."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the daemon is shutting down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the status line of the unit, which `systemctl status` shows."""
        self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> None:
        """Feed the watchdog. Called only when the pipeline has made progress."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Send nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._address = ""

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # A full or missing socket must neither stop a dictation nor block the loop.
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
            self._socket.sendto(message.encode(), self._address)


def _watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Return half of the time that the unit allows, or None if it sets no watchdog, or one for another process."""
    try:
        usec = int(environ.get("WATCHDOG_USEC", "0"))
        ours = int(environ.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except ValueError:
        return None
    return usec / 2e6 if usec > 0 and ours else None


LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class PersonFormatter(logging.Formatter):
    """A formatter for `warning: message`."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


def setup_logging(verbosity: int, *, service: bool = False) -> None:
    """Send the log to stderr, or to the journal if stderr is connected to it. Called once, by the command line.

    Args:
        verbosity: the number of `-v`: 0 for warnings, 1 for INFO, 2 for DEBUG.
        service: the command is a service, whose INFO lines are always wanted.
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
    """Whether stderr is connected to the journal.

    $JOURNAL_STREAM has the device and inode of the stream that systemd passed, but stderr may have been redirected
    since.
    """
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(2)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (ValueError, OSError):
        return False
