"""The daemon's socket: it answers, and only those who should may use it."""

import grp
import stat

from flowpi import __version__
from flowpi.client import Connection
from flowpi.config import Config
from flowpi.core.errors import FlowpiError, NoPermissionError
from flowpi.doctor.findings import Finding, fine
from flowpi.host.paths import find_socket

PART = "socket"


def examine(config: Config) -> list[Finding]:
    try:
        with Connection(config) as connection:
            running = str(connection.hello["flowpi"])
    except NoPermissionError as error:
        hint = f"sudo usermod -aG {config.publish.socket.group or 'flowpi'} $USER, then log in again"
        return [Finding(PART, "failure", "forbidden", error.message, hint)]
    except FlowpiError as error:
        return [Finding(PART, "failure", "no_daemon", error.message, error.hint or "see `journalctl -u flowpi`")]
    found = _permissions(config)
    if running != __version__:
        what = f"the daemon that runs is flowpi {running}, and {__version__} is installed"
        found.append(Finding(PART, "warning", "outdated", what, "sudo systemctl restart flowpi flowpi-asr"))
    return found or [fine(PART, "the daemon answers")]


def _permissions(config: Config) -> list[Finding]:
    path = find_socket(config)
    try:
        status = path.stat()
    except OSError:  # it has just gone
        return []
    if stat.S_IMODE(status.st_mode) & stat.S_IWOTH:
        what = f"every user may record and read along by {path}"
        return [Finding(PART, "warning", "open_to_all", what, f"sudo chmod o= {path}, or restart flowpi")]
    try:
        wanted = grp.getgrnam(config.publish.socket.group or "").gr_gid
    except KeyError:
        return []  # `permissions` looks after groups that are not there
    if status.st_gid != wanted:
        group = config.publish.socket.group
        what = f"{path} is not of the group {group!r}: its members cannot use it"
        hint = f"sudo usermod -aG {group} flowpi, then sudo systemctl restart flowpi"
        return [Finding(PART, "warning", "wrong_group", what, hint)]
    return []
