"""The directories and sockets of flowpi, for the daemon and for its clients.

Under systemd the unit determines them ($STATE_DIRECTORY, $RUNTIME_DIRECTORY). Root without systemd has the same
directories as the service, and any other user the XDG ones. Only `make_private`, and `runtime_directory` as its last
resort, make anything on the disk.
"""

import os
import stat
from pathlib import Path

from flowpi.config.schema import Config
from flowpi.core.errors import CannotCreateError, NoPermissionError

SYSTEM_STATE = Path("/var/lib/flowpi")
SYSTEM_RUNTIME = Path("/run/flowpi")
RECOGNISERS_RUNTIME = Path("/run/flowpi-asr")
"""The directory in which flowpi-asr.service makes its sockets; SYSTEM_RUNTIME has links to them."""
SYSTEM_HOOK_STATE = Path("/var/lib/flowpi-hook")
SYSTEM_KEYBOARD_STATE = Path("/var/lib/flowpi-keyboard")
SOCKET = "flowpi.sock"


def state_directory() -> Path:
    """Return the directory of what must survive a reboot. It may not exist yet."""
    if given := os.environ.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])  # systemd joins several with colons
    return usual_state_directory()


def usual_state_directory() -> Path:
    """Return the `state_directory` of a daemon of this user without systemd."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    return _xdg("XDG_STATE_HOME", Path.home() / ".local" / "state") / "flowpi"


def runtime_directory() -> Path:
    """Return the directory of the sockets. It may not exist yet.

    It is made here only for a user without $XDG_RUNTIME_DIR (cron, su), and raises what `make_private` raises.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    if os.geteuid() == 0:
        return SYSTEM_RUNTIME
    if os.environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        return Path(os.environ["XDG_RUNTIME_DIR"]) / "flowpi"
    import tempfile  # 3 ms that a service never needs

    return make_private(Path(tempfile.gettempdir()) / f"flowpi-{os.geteuid()}")


def transcripts_directory(config: Config) -> Path:
    """Return the directory of the transcripts. It may not exist yet."""
    directory = config.publish.files.directory
    return Path(directory) if directory else state_directory() / "transcripts"


def spool_directory(config: Config) -> Path:
    """Return the directory of the spool. It may not exist yet."""
    return Path(config.spool.directory) if config.spool.directory else state_directory() / "spool"


def hook_directory() -> Path:
    """Return the directory of what the hook of this user keeps. It may not exist yet."""
    return _directory_of("hook", SYSTEM_HOOK_STATE)


def keyboard_directory() -> Path:
    """Return the directory of what the typist of this user keeps. It may not exist yet."""
    return _directory_of("keyboard", SYSTEM_KEYBOARD_STATE)


def _directory_of(part: str, system: Path) -> Path:
    if os.geteuid() == 0 and "STATE_DIRECTORY" not in os.environ:
        return system
    return state_directory() if "STATE_DIRECTORY" in os.environ else state_directory() / part


def find_hook_directory() -> Path:
    """Return the directory of the hook of the service if it exists, or else that of the user's own."""
    return SYSTEM_HOOK_STATE if SYSTEM_HOOK_STATE.is_dir() else hook_directory()


def daemon_socket(config: Config) -> Path:
    """Return the path of the socket on which a daemon of this user listens."""
    path = config.publish.socket.path
    return Path(path) if path else runtime_directory() / SOCKET


def find_socket(config: Config) -> Path:
    """Return the path of the socket on which a client finds the daemon.

    It is the one that is configured, or else that of the service if it exists, or else that of the user's own daemon,
    also if that does not exist: connecting reports it.
    """
    path = config.publish.socket.path
    if path:
        return Path(path)
    service = SYSTEM_RUNTIME / SOCKET
    try:
        service.lstat()
    except PermissionError:
        return service  # it is there, and connecting reports which permission is missing
    except OSError:
        return daemon_socket(config)
    return service


def make_private(directory: Path) -> Path:
    """Make a directory that nobody else can enter, or check that it is one, and return it.

    Raises:
        CannotCreateError: it cannot be made.
        NoPermissionError: somebody else made it, or it is a link: what is in it cannot be trusted.
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
    """Return the directory that an XDG variable names. By that standard a relative path counts as unset."""
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else default
