"""Inspects the machine, or the disk image, that flowpi is set up on; the plan is made from the result."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from flowpi.core.errors import CannotCreateError, NoPermissionError, UnavailableError, UsageError
from flowpi.setup.files import HOME

CONFIG = "/etc/flowpi/flowpi.yaml"
COMMAND = "/usr/local/bin/flowpi"
PACKAGE = "/var/lib/dpkg/info/flowpi.list"
USERS = ("flowpi", "flowpi-asr", "flowpi-hook", "flowpi-keyboard")
"""The users of the services, see flowpi.sysusers."""
PERSONS = 1000
"""The lowest uid of a login user: UID_MIN of Debian's login.defs(5)."""
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
"""Folders that the services cannot see: the units have ProtectHome= and PrivateTmp=."""


class Machine(msgspec.Struct, frozen=True):
    """The state of a machine or a disk image, as far as a plan depends on it.

    Attributes:
        root: the folder of an image; empty for this machine, where services are started and stopped.
        environment: the folder with bin/flowpi, as the machine sees it.
        libraries: the folder with the libraries of its Python.
        files: the content of each existing path; None for one that is no regular file.
        command: the target of the link /usr/local/bin/flowpi; empty if it is no link, None if it does not exist.
        users: those of `USERS` that are there as system users.
        persons: those of `USERS` that are there as login users.
        config: whether there is a configuration, valid or not.
        model: whether the recogniser's model is in the environment.
        udev: whether udev runs on this machine.
        catalog: whether the journal has a catalogue of messages.
        systemd: the version of systemd, or None if it is not known.
    """

    root: str
    environment: str
    libraries: str
    files: dict[str, bytes | None] = {}
    command: str | None = None
    users: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    config: bool = False
    model: bool = True
    udev: bool = False
    catalog: bool = False
    systemd: int | None = None


def owned_by_package(root: str) -> bool:
    """Whether the Debian package is installed below `root`.

    The list alone does not prove it: dpkg keeps the list of a removed package, with its configuration files.
    """
    try:
        return f"{HOME}/bin/flowpi\n" in Path(root + PACKAGE).read_text()
    except OSError:
        return False


def look(root: str, paths: Iterable[str], *, installed: bool = True) -> Machine:
    """Inspect the machine or the image.

    Args:
        root: the folder of an image; empty for this machine.
        paths: the paths that flowpi may have to write.
        installed: false for this machine as it would be with this flowpi in `HOME`.

    Raises:
        UnavailableError: the image has no flowpi.
        UsageError: the services could not reach flowpi, or the folder does not exist.
        CannotCreateError: a link on the way to a path leads out of the image.
    """
    if root and not os.path.isdir(root):
        raise UsageError(f"there is no folder {root}", "let --root name the folder with the image's /etc and /usr")
    environment, libraries = _environment(root) if installed else (HOME, _libraries("/usr", sys.version_info.minor))
    files = dict[str, bytes | None]()
    for path in paths:
        there = Path(inside(root, path))
        if there.is_file() and not there.is_symlink():
            files[path] = there.read_bytes()
        elif os.path.lexists(there):
            files[path] = None
    command = inside(root, COMMAND)
    users = _users(root)
    return Machine(
        root=root,
        environment=environment,
        libraries=libraries,
        files=files,
        command=os.readlink(command) if os.path.islink(command) else "" if os.path.lexists(command) else None,
        users=tuple(name for name, number in users.items() if number < PERSONS),
        persons=tuple(name for name, number in users.items() if number >= PERSONS),
        config=_is_there(inside(root, CONFIG)),
        model=any(
            Path(root + environment if installed else sys.prefix).glob(
                "lib/python3*/site-packages/moonshine_voice/assets/*/*.ort"
            )
        ),
        udev=not root and os.path.exists("/run/udev/control"),
        catalog=os.path.exists(root + "/var/lib/systemd/catalog/database"),
        systemd=systemd_version(root),
    )


def inside(root: str, path: str) -> str:
    """Return the place of the machine's `path` below `root`.

    Raises:
        CannotCreateError: a link on the way to `path` leads out of the image.
    """
    if not root:
        return path
    top, parent = os.path.realpath(root), os.path.realpath(root + os.path.dirname(path))
    if os.path.commonpath([top, parent]) != top:
        hint = "run `flowpi setup --root /` inside the image instead, in a chroot or systemd-nspawn"
        raise CannotCreateError(f"{path} leads out of {root} by a link", hint)
    return os.path.join(parent, os.path.basename(path))


def check_rights(root: str) -> None:
    """Check that setup can work here.

    Raises:
        NoPermissionError: the user is not root.
        UnavailableError: systemd does not run on this machine, so it cannot start services.
    """
    if os.geteuid() != 0:
        raise NoPermissionError(
            "setup writes to /etc and makes a user", "run it with sudo; --dry-run shows what it does"
        )
    if not root and not os.path.isdir("/run/systemd/system"):
        hint = "for an image or a container that is not booted: --root /"
        raise UnavailableError("systemd does not run here, so no service can be started", hint)


def _environment(root: str) -> tuple[str, str]:
    """Return the folder with bin/flowpi, as the machine sees it, and the folder with the libraries of its Python.

    The folder is that of this program, if it belongs to the machine or image; else `HOME` in the image.
    """
    here, base, minor = sys.prefix, sys.base_prefix, sys.version_info.minor
    if root and root != "/":
        top = os.path.realpath(root)
        here = os.path.realpath(here).removeprefix(top) if os.path.realpath(here).startswith(top + "/") else HOME
        made = _made_with(f"{top}{here}")
        if made is None or not os.path.lexists(f"{top}{here}/bin/flowpi"):
            hint = f"make a virtual environment {here} in it and install flowpi there"
            raise UnavailableError(f"there is no {here}/bin/flowpi in {root}", hint)
        return here, _libraries(*made)
    for folder in (here, base):
        if folder.startswith(tuple(f"{hidden}/" for hidden in HIDDEN)):
            hint = f"install it with /usr/bin/python3 into {HOME}"
            raise UsageError(f"the services are kept from seeing {folder}, where this flowpi is", hint)
    if not os.path.exists(f"{here}/bin/flowpi"):
        raise UsageError(f"there is no {here}/bin/flowpi", f"install flowpi into a virtual environment {HOME}")
    return here, _libraries(base, minor)


def _made_with(environment: str) -> tuple[str, int] | None:
    """Return the prefix of a virtual environment's Python and its minor version (11 for 3.11), or None without one."""
    try:
        about = Path(environment, "pyvenv.cfg").read_text()
    except OSError:
        return None
    home, version = re.search(r"^home = (.+)/bin$", about, re.M), re.search(r"^version\w* = 3\.(\d+)", about, re.M)
    return (home[1], int(version[1])) if home and version else None


def _libraries(base: str, minor: int) -> str:
    """Return the folder with Python's libraries; below /usr that of Python alone, as /usr/lib also holds programs."""
    return f"/usr/lib/python3.{minor}" if base == "/usr" else f"{base}/lib"


def _is_there(path: str) -> bool:
    """Whether `path` exists. A folder that this user may not enter counts as yes: only an installation makes it."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _users(root: str) -> dict[str, int]:
    """Return the uid of each of `USERS` that is there."""
    try:
        found = re.findall(r"^([^:\n]+):[^:\n]*:(\d+):", Path(inside(root, "/etc/passwd")).read_text(), re.M)
    except OSError:
        return {}
    return {name: int(number) for name, number in found if name in USERS}


def systemd_version(root: str) -> int | None:
    """Return the version of systemd by the name of its library, as nothing in an image can be run, or None."""
    libraries = [
        library.name
        for folder in ("usr/lib/systemd", "usr/lib/*/systemd")  # the second on Debian
        for library in Path(root or "/").glob(f"{folder}/libsystemd-shared-[0-9]*.so")
    ]
    versions = [int(found[1]) for name in libraries if (found := re.match(r"libsystemd-shared-(\d+)", name))]
    return max(versions, default=None)
