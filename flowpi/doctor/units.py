"""The check of flowpi's systemd units, from the properties that systemctl shows."""

from pathlib import Path

from flowpi.config.backends.flow import LOCAL_URL
from flowpi.config.schema import Config
from flowpi.doctor.ask import install_again, said
from flowpi.doctor.findings import Finding, fine, skipped

SYSTEMD = Path("/run/systemd/system")
"""The folder that exists if systemd runs the machine, see sd_booted(3)."""

EXIT_CONFIG = "78"
"""The exit code of `ConfigError`, from sysexits."""

SHOWN = [
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "NeedDaemonReload",
    "User",
    "Group",
    "SupplementaryGroups",
]


def examine(config: Config) -> list[Finding]:
    if not SYSTEMD.is_dir():
        return [skipped("units", "systemd does not run this machine")]
    shown = show()
    if shown is None:
        return [skipped("units", "systemctl does not answer")]
    return judge(shown, wanted=wanted(config))


RECOGNISER = "flowpi-asr.service"


def wanted(config: Config) -> list[str]:
    """Return the units that the configuration needs."""
    used = (config.backends[name] for name in config.backends_in_use)
    local = any(backend.endpoint == LOCAL_URL for backend in used)
    hook = config.publish.command.run is not None
    keyboard = config.publish.keyboard.kind != "none"
    optional = {RECOGNISER: local, "flowpi-hook.service": hook, "flowpi-keyboard.service": keyboard}
    return ["flowpi.service", *(name for name, needed in optional.items() if needed)]


def show() -> dict[str, dict[str, str]] | None:
    """Return the properties of the units by unit name, or None if systemd does not answer."""
    units = ("flowpi.service", RECOGNISER, "flowpi-hook.service", "flowpi-keyboard.service")
    output = said("systemctl", "show", f"--property={','.join(SHOWN)}", *units)
    return None if output is None else parse(output)


def status_text(unit: str) -> str:
    """Return the line in which a service says how it is, empty if there is none."""
    return (said("systemctl", "show", "--property=StatusText", "--value", unit) or "").strip()


def parse(output: str) -> dict[str, dict[str, str]]:
    units = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return {unit["Id"]: unit for unit in units if "Id" in unit}


def judge(shown: dict[str, dict[str, str]], wanted: list[str]) -> list[Finding]:
    return [finding for name in wanted for finding in _judge(name, shown.get(name, {}))]


def _judge(name: str, unit: dict[str, str]) -> list[Finding]:
    short = name.removesuffix(".service")
    if unit.get("LoadState") != "loaded":
        if unit.get("LoadState") == "masked":
            hint = f"sudo systemctl unmask {short} && sudo systemctl start {short}"
            return [Finding(name, "failure", "not_running", "is masked, so nothing can start it", hint)]
        hint = install_again("sudo flowpi setup")
        return [Finding(name, "warning", "not_installed", "is not installed", hint)]
    found = []
    active = unit.get("ActiveState")
    if "auto-restart" in unit.get("SubState", ""):
        hint = f"see why by `journalctl -xu {short} -n 50`"
        found.append(Finding(name, "failure", "failed", "ends again and again, and is started again", hint))
    elif active == "failed" and unit.get("ExecMainStatus") == EXIT_CONFIG:
        hint = f"`flowpi config check` names file, line and key; then `sudo systemctl restart {short}`"
        found.append(Finding(name, "failure", "failed", "does not run: its configuration is wrong", hint))
    elif active == "failed":
        how = f"{unit.get('Result', 'failed')}, exit code {unit.get('ExecMainStatus', '?')}"
        hint = f"see why by `journalctl -xu {short} -n 50`, then `sudo systemctl restart {short}`"
        found.append(Finding(name, "failure", "failed", f"failed ({how})", hint))
    elif active not in ("active", "activating", "reloading"):
        what = f"does not run ({active}, {unit.get('SubState')})"
        found.append(Finding(name, "failure", "not_running", what, f"sudo systemctl start {short}"))
    if unit.get("UnitFileState") == "disabled" and short == "flowpi":  # it starts the recogniser too
        what = "does not start with the machine"
        found.append(Finding(name, "warning", "not_enabled", what, f"sudo systemctl enable {short}"))
    if (restarts := int(unit.get("NRestarts") or 0)) > 0:
        what = f"ended unasked or hung, and was started again: {restarts} {'time' if restarts == 1 else 'times'}"
        hint = f"see why by `journalctl -u {short} -p warning`; `sudo systemctl reset-failed {short}` counts anew"
        found.append(Finding(name, "warning", "restarts", what, hint))
    if unit.get("NeedDaemonReload") == "yes":
        hint = f"sudo systemctl daemon-reload && sudo systemctl restart {short}"
        found.append(Finding(name, "warning", "outdated", "its unit file has changed since it was read", hint))
    return found or [fine(name, "is starting" if active == "activating" else "runs")]
