"""A part of the configuration, handed over to a service whose user must not read the rest.

The unit runs a command as the user flowpi before each start. This writes the part to a directory that the service reads
and cannot write. An error is handed over like a configuration, and the service ends with it:
`RestartPreventExitStatus=` counts for the main process of a unit only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from flowpi.core.errors import CannotCreateError, FlowpiError, HandedOverError
from flowpi.host.folders import replace_file

CONFIG = "flowpi.yaml"
ERROR = "error.json"


def write(directory: Path, files: Mapping[str, bytes], others: Sequence[str] = ()) -> None:
    """Put files in the place of what was handed over before.

    Args:
        files: the content by name.
        others: the names of files that may be there besides the configuration and the error.

    Raises:
        CannotCreateError: nothing can be written there.
    """
    try:
        for name in (CONFIG, ERROR, *others):
            (directory / name).unlink(missing_ok=True)
        for name, content in files.items():
            replace_file(directory / name, content, 0o640)
    except OSError as error:
        hint = "sudo systemd-tmpfiles --create flowpi.conf"
        raise CannotCreateError(f"cannot write to {directory} ({error.strerror})", hint) from error


def encoded(error: FlowpiError) -> bytes:
    """Return an error as the content of a file."""
    return msgspec.json.encode([error.message, error.hint, error.exit_code])


def handed_over(directory: Path) -> str:
    """Return the path of the configuration that was handed over.

    Raises:
        HandedOverError: it was an error.
    """
    try:
        message, hint, exit_code = msgspec.json.decode((directory / ERROR).read_bytes(), type=tuple[str, str, int])
    except FileNotFoundError:
        return str(directory / CONFIG)
    raise HandedOverError(message, hint, exit_code)
