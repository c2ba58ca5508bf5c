"""Log records as entries of systemd's journal, with the fields of `logfields.py`.

The protocol is one datagram to journald's socket with a line `FIELD=value` for each field; a value with line breaks is
sent with its length instead (systemd's page "Native Journal Protocol"). It is implemented here because the packages for
it block while journald is busy, or send each argument of a log call as a field of its own.
"""

import contextlib
import logging
import socket
import struct
from collections.abc import Mapping
from typing import TextIO

SOCKET = "/run/systemd/journal/socket"

IDENTIFIER = "flowpi"
"""The identifier of both services, the same as without this protocol: `_SYSTEMD_UNIT` distinguishes them."""

MAX_BYTES = 48 * 1024
"""The largest value, the same as journald's LineMax= for a line of stderr. A longer one is cut off, because journald
would refuse the whole entry."""

CUT = b" ... (cut)"

PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""The least level for each priority of sd-daemon(3); below INFO it is 7."""


def priority(level: int) -> int:
    """Return the syslog priority of a level of `logging`."""
    return next((number for least, number in PRIORITIES if level >= least), 7)


def datagram(fields: Mapping[str, str]) -> bytes:
    """Return one entry in the form that journald's socket accepts."""
    parts = []
    for name, text in fields.items():
        value = text.encode("utf-8", "replace")
        if len(value) > MAX_BYTES:
            value = value[: MAX_BYTES - len(CUT)].decode("utf-8", "ignore").encode() + CUT
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


class LineFormatter(logging.Formatter):
    """A formatter for `<3>message`, from which journald removes the priority. Every line of a traceback has one."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(f"<{priority(record.levelno)}>{line}" for line in super().format(record).splitlines())


class JournalHandler(logging.StreamHandler[TextIO]):
    """A handler that sends entries to journald. What journald does not accept at once goes to stderr without fields.

    The fields of a record are its attribute `journal`, see `logfields.fields`. The place in the code is added for those
    who look for a fault: to warnings and errors, and to what only DEBUG shows.
    """

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._path = path
        self._plain = logging.Formatter()
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):  # a unit may forbid sockets: then everything goes to stderr
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        if self._socket is None:
            super().emit(record)
            return
        try:
            # Never connected: journald makes a new socket when it restarts.
            self._socket.sendto(datagram(self._fields(record)), self._path)
        except OSError:
            super().emit(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        super().close()

    def _fields(self, record: logging.LogRecord) -> dict[str, str]:
        fields = {
            "MESSAGE": self._plain.format(record),
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
        }
        if record.levelno >= logging.WARNING or record.levelno <= logging.DEBUG:
            fields["CODE_FILE"] = record.pathname
            fields["CODE_LINE"] = str(record.lineno)
            fields["CODE_FUNC"] = record.funcName or ""
        return fields | getattr(record, "journal", {})
