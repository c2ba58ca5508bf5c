"""Roots of Debian, made from this machine's own mirror, and commands run in them.

A root is a directory on which a container starts, or from which a disk is made. The commands run with this machine's
network and its settings of apt and pip: they are for building, never for tests.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path

from debian.elsewhere import BuildFailed, bootstrap, inside, layered, run, unique_name
from tests.rig import store

__all__ = ["BuildFailed", "bootstrap", "inside", "layered", "run", "unique_name"]

SYSTEM = ("systemd", "systemd-sysv", "dbus", "udev", "kmod", "ca-certificates", "procps", "iproute2", "util-linux")
PROBES = ("alsa-utils", "libasound2-plugins", "gpiod", "python3", "strace")
"""The packages that a test needs besides the system itself."""

SUITES = ("bookworm", "trixie")
"""The releases that flowpi supports, of Debian and of Raspberry Pi OS."""


def root(suite: str) -> Path:
    """Return the plain system, on which everything else is built."""
    packages = (*SYSTEM, *PROBES)
    return store.kept(
        f"root-{suite}",
        store.key(*packages, suite, inspect.getsource(bootstrap)),
        lambda tree: bootstrap(suite, packages, tree),
    )


def copy(source: Path, tree: Path) -> None:
    """Copy a root. If the filesystem supports it, the copy needs space only for what is changed in it."""
    run(["cp", "--archive", "--reflink=auto", f"{source}/.", tree])


def install(tree: Path, packages: Sequence[str]) -> None:
    """Install packages of the suite and their dependencies, without recommended ones."""
    inside(tree, f"apt-get -qq update; apt-get -qq --yes --no-install-recommends install {' '.join(packages)}")
