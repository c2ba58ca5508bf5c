"""Makes the plan of `flowpi setup`: the steps from the state of the machine to the wanted one. Touches nothing.

A plan may be cut off anywhere, and the next plan continues from the state it finds. So idempotent programs are run each
time, and files that are there already are not written again.
"""

from collections.abc import Mapping, Sequence

from flowpi.core.errors import UsageError
from flowpi.setup.files import enabled, installed, is_ours, place
from flowpi.setup.machine import COMMAND, CONFIG, Machine
from flowpi.setup.steps import Delete, DeleteFolder, RunProgram, Say, Step, Symlink, Write

NOT_DEBIANS = ("/etc/sysusers.d", "/etc/systemd/catalog")
"""Folders that some Debian releases do not have until a file is put into them."""

RUNTIME = (
    "/run/flowpi",
    "/run/flowpi-asr",
    "/run/flowpi-asr-config",
    "/run/flowpi-hook-config",
    "/run/flowpi-keyboard-config",
    "/run/flowpi-provision",
)
"""The folders that outlive the services."""

KEPT = ("/etc/flowpi", "/var/lib/flowpi", "/var/lib/flowpi-hook", "/var/lib/flowpi-keyboard")
"""The folders that only `purge` deletes."""

DEVICES = ("gpio", "spidev", "misc", "hidg")
"""The kinds of devices whose groups flowpi.rules assigns; uinput is of the third."""

RECOGNISER = "flowpi-asr.service"


def install(here: Machine, shipped: Mapping[str, bytes], config: bytes) -> list[Step]:
    """Return the steps that install the services.

    Args:
        here: the state of the machine.
        shipped: the content of the system files by name.
        config: the default configuration, for a machine that has none.

    Raises:
        UsageError: the name of the services' user belongs to a login user.
    """
    for name in here.persons:
        raise UsageError(
            f"the user {name} is a person's, and the services need one of this name",
            f"rename it, as another user: sudo usermod --login NAME --home /home/NAME --move-home {name}, and groupmod",
        )
    files = installed(shipped, here.environment, here.libraries, here.systemd)
    if not here.model and place(RECOGNISER) not in here.files:
        files.pop(place(RECOGNISER))
    steps, changed = list[Step](), False
    for path, content in files.items():
        if path not in here.files:
            steps.append(Write(path, content))
            changed = True
        elif not _ours(here, path):
            steps.append(Say(f"keep {path}: it was changed by hand; delete it to have flowpi's"))
        elif here.files[path] != content:
            steps.append(Write(path, content))
            changed = True
    if not here.config:
        steps.append(Write(CONFIG, config))
    # The /run of an image is hidden by another one as soon as it boots.
    without_run = ("--exclude-prefix=/run",) if here.root else ()
    # The user first: systemd-tmpfiles gives the configuration to its group.
    steps += [
        RunProgram(("systemd-sysusers", *_root(here), "flowpi.conf")),
        RunProgram(("systemd-tmpfiles", *_root(here), *without_run, "--create", "flowpi.conf")),
    ]
    program = f"{here.environment}/bin/flowpi"
    if here.command is None:
        steps.append(Symlink(COMMAND, program))
    elif here.command != program:
        steps.append(Say(f"keep {COMMAND}: it is not the flowpi in {here.environment}"))
    steps += _reload(here)

    units = [unit for unit in enabled(shipped) if here.files.get(place(unit), b"") is not None]  # None: masked
    if not here.model:
        units = [unit for unit in units if unit != RECOGNISER]
        steps.append(
            Say(f"no recogniser in {here.environment}, so {RECOGNISER} stays off: install 'flowpi[local]' to have it")
        )
    if here.root:
        steps.append(RunProgram(("systemctl", *_root(here), "enable", *units)))
    else:
        steps.append(RunProgram(("systemctl", "enable", *units)))
        # A running service is left running, unless its files have changed.
        steps.append(RunProgram(("systemctl", "restart" if changed else "start", *units)))
    steps.append(Say("who may use it without sudo is in the group flowpi: usermod --append --groups flowpi NAME"))
    return steps


def remove(here: Machine, shipped: Mapping[str, bytes], *, purge: bool) -> list[Step]:
    """Return the steps that undo `install`; the configuration and the recordings are kept, unless `purge` is set."""
    steps = list[Step]()
    paths = [path for path in map(place, shipped) if path in here.files]
    units = [unit for unit in enabled(shipped) if any(path.endswith(f"/{unit}") for path in paths)]
    if units:
        steps.append(RunProgram(("systemctl", *_root(here), "disable", *units), may_fail=True))
    if not here.root:
        steps.append(RunProgram(("systemctl", "stop", "flowpi*.service"), may_fail=True))
    for path in paths:
        if _ours(here, path):
            steps.append(Delete(path))
        else:
            steps.append(Say(f"keep {path}: it was changed by hand"))
    steps += [DeleteFolder(folder, if_empty=True) for folder in NOT_DEBIANS if any(p.startswith(folder) for p in paths)]
    if here.command == f"{here.environment}/bin/flowpi":
        steps.append(Delete(COMMAND))
    steps += _reload(here)
    if not here.root:
        steps += [DeleteFolder(folder) for folder in RUNTIME]
    if purge:
        steps += [DeleteFolder(folder) for folder in KEPT]
        prefix = ("--prefix", here.root) if here.root else ()
        for name in here.users:
            # userdel also deletes the group on a running machine, but not in an image.
            steps += [
                RunProgram(("userdel", *prefix, name)),
                RunProgram(("groupdel", *prefix, name), may_fail=True),
            ]
    else:
        steps.append(Say("keep /etc/flowpi and /var/lib/flowpi: `flowpi setup --remove --purge` deletes them"))
    steps.append(Say(f"flowpi itself is in {here.environment}"))
    return steps


def _ours(here: Machine, path: str) -> bool:
    content = here.files[path]
    return content is not None and is_ours(content)


def _reload(here: Machine) -> Sequence[Step]:
    """Return the steps that make the journal, udev and systemd read the changed files."""
    steps = list[Step]()
    if here.catalog:
        steps.append(RunProgram(("journalctl", *_root(here), "--update-catalog"), may_fail=True))
    if here.root:
        return steps
    if here.udev:
        steps.append(RunProgram(("udevadm", "control", "--reload"), may_fail=True))
        steps.append(
            RunProgram(
                ("udevadm", "trigger", "--settle", *(f"--subsystem-match={kind}" for kind in DEVICES)), may_fail=True
            )
        )
    return [*steps, RunProgram(("systemctl", "daemon-reload"))]


def _root(here: Machine) -> tuple[str, ...]:
    return (f"--root={here.root}",) if here.root else ()
