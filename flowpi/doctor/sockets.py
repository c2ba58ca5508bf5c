"""The check of the daemon's socket: that it answers, and that only the intended users may use it."""

import contextlib
import grp
import os
import pwd
import stat

from flowpi import __version__
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config, SocketSettings
from flowpi.core.errors import FlowpiError, NoPermissionError
from flowpi.doctor.findings import Finding, fine
from flowpi.host.paths import SYSTEM_RUNTIME, find_socket

PART = "socket"

ANOTHER_GROUP = (
    "for unit in flowpi flowpi-signal; do sudo install -d /etc/systemd/system/$unit.service.d && "
    "printf '[Service]\\nRuntimeDirectoryMode=0755\\nSystemCallFilter=@chown\\n' | "
    "sudo tee /etc/systemd/system/$unit.service.d/group.conf; done; "
    "sudo usermod -aG {} flowpi && sudo systemctl daemon-reload && sudo systemctl restart flowpi"
)
"""The commands that allow the service to give its socket to another group, and that group to enter the directory."""


def examine(config: Config) -> list[Finding]:
    try:
        with DaemonConnection(config) as connection:
            running = str(connection.hello["flowpi"])
    except NoPermissionError as error:
        return [Finding(PART, "failure", "forbidden", error.message, _how_to_join(config.publish.socket.group))]
    except FlowpiError as error:
        return [Finding(PART, "failure", "no_daemon", error.message, error.hint or "see `journalctl -u flowpi`")]
    found = _permissions(config)
    if running != __version__:
        what = f"the daemon that runs is flowpi {running}, and {__version__} is installed"
        found.append(Finding(PART, "warning", "outdated", what, "sudo systemctl restart flowpi flowpi-asr"))
    return found or [fine(PART, "the daemon answers")]


def _how_to_join(group: str | None) -> str:
    """Return how the current user gets access; a new group counts only from the next login, which is easily missed."""
    if group is None:
        return "set publish.socket.group, or run it as root (sudo flowpi doctor)"
    with contextlib.suppress(KeyError):  # no such user, or no such group
        if pwd.getpwuid(os.geteuid()).pw_name in grp.getgrnam(group).gr_mem:
            return f"log out and in again: you are in the group {group!r} since then"
    return f"`sudo usermod -aG {group} $USER`, then log out and in again"


def _permissions(config: Config) -> list[Finding]:
    path = find_socket(config)
    try:
        status = path.stat()
    except OSError:  # the daemon has just stopped
        return []
    if stat.S_IMODE(status.st_mode) & stat.S_IWOTH:
        what = f"every user may record and read along by {path}"
        return [Finding(PART, "warning", "open_to_all", what, f"sudo chmod o= {path}")]
    group = config.publish.socket.group
    try:
        wanted = grp.getgrnam(group or "").gr_gid
        owner = pwd.getpwuid(status.st_uid)
    except KeyError:
        if group in (None, SocketSettings().group):
            return []  # a daemon of the user's own needs no group
        what = f"there is no group {group!r} that could use {path}"
        hint = f"sudo groupadd --system {group} && sudo systemctl restart flowpi"
        return [Finding(PART, "warning", "wrong_group", what, hint)]
    directory = path.parent.stat()
    is_services = path.parent == SYSTEM_RUNTIME
    closed = is_services and directory.st_gid != wanted and not directory.st_mode & stat.S_IXOTH
    if status.st_gid == wanted and not closed:
        return []
    what = f"the members of the group {group!r} cannot use {path}, which should be theirs"
    if owner.pw_gid == wanted:
        hint = "sudo systemctl restart flowpi"
    elif is_services:
        hint = ANOTHER_GROUP.format(group)
    else:
        hint = f"`sudo usermod -aG {group} {owner.pw_name}`, log out and in again, and start the daemon anew"
    return [Finding(PART, "warning", "wrong_group", what, hint)]
