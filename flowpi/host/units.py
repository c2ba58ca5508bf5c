"""What to tell a person who has to see to a service: with systemd where its unit is, or by its command in a clone."""

from pathlib import Path

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def is_installed(unit: str) -> bool:
    """Return whether a unit, such as `flowpi.service`, is on this machine."""
    return any(Path(folder, unit).exists() for folder in FOLDERS)


def how_to_start_daemon() -> str:
    """Return the command that starts the daemon here, in backquotes."""
    return "`sudo systemctl start flowpi`" if is_installed("flowpi.service") else "`flowpi run`"


def how_to_start_recogniser() -> str:
    """Return what to do about a recogniser of this machine that does not answer."""
    installed = is_installed("flowpi-asr.service")
    return "is flowpi-asr.service running?" if installed else "start `flowpi serve`"


def how_to_look_at_recogniser() -> str:
    """Return what shows why a recogniser of this machine ended."""
    return f"look at {'`systemctl status flowpi-asr`' if is_installed('flowpi-asr.service') else '`flowpi serve`'}"
