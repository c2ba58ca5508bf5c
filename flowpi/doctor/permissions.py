"""The check of permissions: the user of the service, its groups, and who can read the configuration."""

import grp
import os
import pwd
import re

from msgspec import Struct

from flowpi.config.loading import warnings
from flowpi.config.schema import Config
from flowpi.doctor import units
from flowpi.doctor.findings import Finding, fine

PART = "permissions"

HINTS = re.compile(r": (?=chmod |use |set )")
"""The place where the hint of a configuration warning begins."""

BRING_THE_USER_BACK = (
    "sudo systemd-sysusers && sudo systemd-tmpfiles --create flowpi.conf && sudo systemctl restart flowpi flowpi-asr"
)
"""The command to recreate the user. Its gid may differ then; systemd-tmpfiles sets the group of the configuration."""

UDEV = "sudo udevadm control --reload && sudo udevadm trigger"
"""The command that gives devices their group once the group exists."""


class Accounts(Struct):
    """The users of this machine, and the members of each group, including those by primary group."""

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
    """Check the service and the configuration; `path` is the configuration file, or None."""
    shown = (units.show() or {}) if units.SYSTEMD.is_dir() else {}
    loaded = {name: unit for name, unit in shown.items() if unit.get("LoadState") == "loaded"}
    findings = service(config, loaded["flowpi.service"], accounts()) if "flowpi.service" in loaded else []
    if "flowpi-asr.service" in loaded:
        findings += recogniser(loaded["flowpi-asr.service"], accounts())
    for warning in warnings(config, path):
        what, hint = HINTS.split(warning, 1) if HINTS.search(warning) else (warning, "change it as the message says")
        findings.append(Finding(PART, "warning", "exposed", what, hint))
    return findings or [fine(PART, "nothing is missing, and nothing too open")]


def needed(config: Config) -> list[str]:
    """Return the groups that the service needs for its devices."""
    groups = ["audio"] if config.audio.source == "alsa" else []
    groups += ["gpio"] if config.button.kind == "gpio" or config.led.kind in ("gpio", "rgb") else []
    groups += ["spi"] if config.led.kind == "apa102" else []
    groups += [_group_of(config.button.device or "")] if config.button.kind == "evdev" else []
    return groups


def _group_of(device: str) -> str:
    """Return the group of an input device: `input`, or the service's for a pedal that is listed in flowpi.rules."""
    try:
        return grp.getgrgid(os.stat(device).st_gid).gr_name
    except (OSError, KeyError):  # not plugged in
        return "input"


def recogniser(unit: dict[str, str], known: Accounts) -> list[Finding]:
    """Check the user of flowpi-asr.service, whose properties are in `unit`."""
    user = unit.get("User") or "root"
    if user not in known.users:
        return [_no_user(user)]
    if user != "flowpi" and user in known.groups.get("flowpi", set()):
        what = f"the recogniser's user {user!r} is in the group 'flowpi', and may read the secrets of the daemon"
        return [Finding(PART, "warning", "exposed", what, f"sudo gpasswd -d {user} flowpi")]
    return []


def _no_user(user: str) -> Finding:
    what = f"there is no user {user!r} to run the service"
    return Finding(PART, "failure", "no_user", what, BRING_THE_USER_BACK)


def service(config: Config, unit: dict[str, str], known: Accounts) -> list[Finding]:
    """Check the user and groups of the service.

    Args:
        config: the configuration.
        unit: the properties of flowpi.service, see `units.show`.
        known: the accounts of this machine.
    """
    user = unit.get("User") or "root"
    if user not in known.users:
        return [_no_user(user)]
    given = unit.get("SupplementaryGroups", "").split()
    findings = []
    for group in dict.fromkeys([*given, *needed(config)]):
        if group not in known.groups:
            what = f"there is no group {group!r}, which the service needs"
            findings.append(Finding(PART, "failure", "no_group", what, f"sudo groupadd --system {group} && {UDEV}"))
        elif user != "root" and group not in given and user not in known.groups[group]:
            what = f"the service's user {user!r} is not in the group {group!r}"
            hint = f"sudo usermod -aG {group} {user} && sudo systemctl restart flowpi"
            findings.append(Finding(PART, "failure", "not_member", what, hint))
    return findings
