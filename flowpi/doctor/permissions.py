"""Who may do what: the groups of the service's user and of this one, and who can read the configuration."""

import grp
import os
import pwd
import re

from msgspec import Struct

from flowpi.config import Config
from flowpi.config_file import warnings
from flowpi.doctor import units
from flowpi.doctor.findings import Finding, fine
from flowpi.host import paths

PART = "permissions"

HINTS = re.compile(r": (?=chmod |use |set )")
"""Where the hint of a warning of the configuration begins."""


class Accounts(Struct):
    """`groups`: members by name of the group, those by their primary group too. `users`: of this machine."""

    users: set[str]
    groups: dict[str, set[str]]


def accounts() -> Accounts:
    users = {user.pw_name: user.pw_gid for user in pwd.getpwall()}
    groups = {
        group.gr_name: {*group.gr_mem, *(name for name, gid in users.items() if gid == group.gr_gid)}
        for group in grp.getgrall()
    }
    return Accounts(set(users), groups)


def examine(config: Config, path: str | None) -> list[Finding]:
    """`path`: of the configuration's file, or None."""
    known = accounts()
    unit = (units.show() or {}).get("flowpi.service", {}) if units.SYSTEMD.is_dir() else {}
    findings = service(config, unit, known) if unit.get("LoadState") == "loaded" else []
    if paths.find_socket(config).parent == paths.SYSTEM_RUNTIME and os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid()).pw_name
        now = {group.gr_name for group in grp.getgrall() if group.gr_gid in (os.getegid(), *os.getgroups())}
        findings += caller(config.publish.socket.group, me, now, known)
    for warning in warnings(config, path):
        what, hint = HINTS.split(warning, 1) if HINTS.search(warning) else (warning, "change it as the message says")
        findings.append(Finding(PART, "warning", "exposed", what, hint))
    return findings or [fine(PART, "nothing is missing, and nothing too open")]


def needed(config: Config) -> list[str]:
    """The groups that the service needs for its devices."""
    groups = ["audio"] if config.audio.source == "alsa" else []
    groups += ["gpio"] if config.button.kind == "gpio" or config.led.kind in ("gpio", "rgb") else []
    groups += ["spi"] if config.led.kind == "apa102" else []
    groups += ["input"] if config.button.kind == "evdev" else []
    return groups


def service(config: Config, unit: dict[str, str], known: Accounts) -> list[Finding]:
    """`unit`: its properties, see `units.show`."""
    user = unit.get("User") or "root"
    if user not in known.users:
        return [
            Finding(PART, "failure", "no_user", f"there is no user {user!r} to run the service", "sudo flowpi setup")
        ]
    given = unit.get("SupplementaryGroups", "").split()
    findings = []
    for group in dict.fromkeys([*given, *needed(config)]):
        if group not in known.groups:
            what = f"there is no group {group!r}, which the service needs"
            findings.append(Finding(PART, "failure", "no_group", what, f"sudo groupadd --system {group}"))
        elif user != "root" and group not in given and user not in known.groups[group]:
            what = f"the service's user {user!r} is not in the group {group!r}"
            hint = f"sudo usermod -aG {group} {user}, then sudo systemctl restart flowpi"
            findings.append(Finding(PART, "failure", "not_member", what, hint))
    return findings


def caller(group: str | None, user: str, now: set[str], known: Accounts) -> list[Finding]:
    """Whether this user may use the daemon's socket. `now`: the groups of this session."""
    if group is None or group not in known.groups or group in now:
        return []
    if user in known.groups[group]:
        what = f"{user} is in the group {group!r} since the last login"
        return [Finding(PART, "warning", "not_member", what, "log out and in again, or `newgrp " + group + "`")]
    what = f"{user} is not in the group {group!r}, so not allowed to use the socket"
    return [Finding(PART, "warning", "not_member", what, f"sudo usermod -aG {group} {user}, then log in again")]
