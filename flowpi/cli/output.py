"""stdout and stderr of every command: output that cannot be written is an error of its own.

Python reports a full disk as an OSError like any other, or only when the interpreter exits, with 120. `attach` puts
streams in the place of its own that say which output failed, and at once when they are flushed.
"""

import io
import os
import sys
from pathlib import Path
from typing import Any

from flowpi.core.errors import CannotCreateError, OutputError


class _Output(io.FileIO):
    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except BrokenPipeError:  # the reader is gone, which is no error
            raise
        except OSError as error:
            raise OutputError(f"the output cannot be written ({error.strerror or error})") from None


class _Stderr(io.FileIO):
    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError:  # nobody is left to tell, and the exit code is that of the command
            return memoryview(data).nbytes


def attach() -> None:
    """Put the streams in the place of Python's, unless a test has put its own there."""
    if sys.stdout is None:  # it was closed by the caller; a file that is opened later must not become it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _stream(sys.stdout, _Output)
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = _stream(sys.stderr, _Stderr)


def create(path: Path) -> io.TextIOWrapper:
    """Open a file for writing in UTF-8; what is in it is replaced. Each write to it may raise OutputError.

    Raises:
        CannotCreateError: it cannot be made.
    """
    try:
        raw: io.FileIO = _Output(path, "wb")
    except OSError as error:
        raise CannotCreateError(f"{str(path)!r} cannot be written ({error.strerror})", "write elsewhere") from None
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="replace", write_through=True)


def silence() -> None:
    """Send what is left in the buffer of stdout nowhere, so that the interpreter does not write it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _stream(old: "io.TextIOWrapper[Any]", raw: type[io.FileIO]) -> io.TextIOWrapper:
    # What the locale of the user does not have is escaped, on stdout too.
    return io.TextIOWrapper(
        io.BufferedWriter(raw(old.fileno(), "wb", closefd=False)),
        encoding=old.encoding,
        errors="backslashreplace",
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )
