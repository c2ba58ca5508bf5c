"""Which texts were typed, or begun: on the disk before the first key, so that no text is ever typed twice."""

import asyncio
import fcntl
import os
from pathlib import Path

import msgspec

from flowpi.core.errors import AlreadyRunning, CannotCreateError, SinkError
from flowpi.host.disk_hints import disk_hint
from flowpi.host.durable_file import DurableFile
from flowpi.host.folders import make_folder
from flowpi.publish.messages import TextId

FILE, LOCK = "keyboard.typed", "lock"

REMEMBERED = 256
"""How many texts are remembered. Only one of a moment ago comes again: the daemon was killed while it published it."""


class _Typed(msgspec.Struct, frozen=True):
    """The content of the file: the texts, the last one at the end."""

    texts: tuple[TextId, ...] = ()


class Marks:
    """The directory of a typist, which no other one uses at the same time."""

    def __init__(self, directory: Path) -> None:
        """Open the directory; it is made if it is missing.

        Raises:
            AlreadyRunning: another typist uses it.
            CannotCreateError: it cannot be made or read.
        """
        self._directory = directory
        self._file = DurableFile(directory / FILE, _Typed, "a text that comes again is typed again")
        try:
            make_folder(directory)
            self._lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._texts = (self._file.read() or _Typed()).texts
        except BlockingIOError:
            os.close(self._lock)
            hint = "stop that one: `systemctl stop flowpi-keyboard`, or Ctrl-C where it was started"
            raise AlreadyRunning("another `flowpi keyboard` runs already", hint) from None
        except OSError as error:
            hint = "it belongs to flowpi-keyboard.service" if isinstance(error, PermissionError) else ""
            raise CannotCreateError(f"cannot use {directory} ({error.strerror})", hint) from error

    def close(self) -> None:
        """Let another typist use the directory."""
        os.close(self._lock)

    def has(self, text: TextId) -> bool:
        """Return whether a text is among the last that were marked."""
        return text in self._texts

    async def add(self, text: TextId) -> None:
        """Mark a text, durably. Raises SinkError: it must not be typed then."""
        texts = (*self._texts, text)[-REMEMBERED:]
        try:
            await asyncio.to_thread(self._file.write, _Typed(texts))
        except OSError as error:
            what = f"cannot write to {self._directory} ({error.strerror or error})"
            raise SinkError(what, disk_hint(error)) from error
        self._texts = texts
