"""Where flowpi keeps things, for the daemon and for its clients.

Under systemd the unit says it ($STATE_DIRECTORY, $RUNTIME_DIRECTORY). Root without systemd has the same directories as
the service; a person has the XDG ones. Nothing but `make_private` and the last resort of `runtime_directory` touches
the disk.
"""

import os
import stat
from pathlib import Path

from flowpi.config.schema import Config
from flowpi.core.errors import CannotCreateError, NoPermissionError

SYSTEM_STATE = Path("/var/lib/flowpi")
SYSTEM_RUNTIME = Path("/run/flowpi")
SOCKET = "flowpi.sock"


def state_directory() -> Path:
    """What must survive a reboot. Not made here."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])  # systemd joins several with colons
    if os.geteuid() == 0:
        return SYSTEM_STATE
    return _xdg("XDG_STATE_HOME", Path.home() / ".local" / "state") / "flowpi"


def runtime_directory() -> Path:
    """Sockets. Not made here, but for a person without $XDG_RUNTIME_DIR (cron, su): see `make_private`."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME
    if os.environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "flowpi"
    import tempfile  # 3 ms that a service never needs

    return make_private(Path(tempfile.gettempdir()) / f"flowpi-{os.geteuid()}")


def transcripts_directory(config: Config) -> Path:
    directory = config.publish.files.directory
    return Path(directory) if directory else state_directory() / "transcripts"


def spool_directory(config: Config) -> Path:
    return Path(config.spool.directory) if config.spool.directory else state_directory() / "spool"


def daemon_socket(config: Config) -> Path:
    """Where the daemon listens."""
    path = config.publish.socket.path
    return Path(path) if path else runtime_directory() / SOCKET


def find_socket(config: Config) -> Path:
    """Where a client finds the daemon: as configured, else the service's, else that of the user's own daemon.

    The last is given also when nothing is there yet: connecting says so.
    """
    path = config.publish.socket.path
    if path:
        return Path(path)
    service = SYSTEM_RUNTIME / SOCKET
    try:
        service.lstat()
    except PermissionError:
        return service  # it is there, and connecting says what is missing
    except OSError:
        return daemon_socket(config)
    return service


def make_private(directory: Path) -> Path:
    """Make a directory that nobody else can enter, or make sure that it is one. Returns it.

    Raises:
        CannotCreateError: it cannot be made.
        NoPermissionError: somebody else made it, or it is a link: what lies in it cannot be trusted.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        hint = "set XDG_RUNTIME_DIR or TMPDIR to a directory of your own"
        raise CannotCreateError(f"cannot make {directory} ({error.strerror})", hint) from None
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        hint = "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
        raise NoPermissionError(f"{directory} is not a private directory of yours", hint)
    return directory


def _xdg(variable: str, default: Path) -> Path:
    """XDG: a relative path counts as unset."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else default
