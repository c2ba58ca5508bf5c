"""Roots of Debian, made from this machine's own mirror, and commands run in them.

A root is a directory on which a container starts, or from which a disk is made. The commands run with this machine's
network and its settings of apt and pip: they are for building, never for tests.
"""

import contextlib
import inspect
import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.rig import store

SYSTEM = ("systemd", "systemd-sysv", "dbus", "udev", "kmod", "ca-certificates", "procps", "iproute2", "util-linux")
PROBES = ("alsa-utils", "libasound2-plugins", "gpiod", "python3", "strace")
"""The packages that a test needs besides the system itself."""

SUITES = ("bookworm", "trixie")
"""The releases that flowpi supports, of Debian and of Raspberry Pi OS."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class BuildFailed(Exception):
    """A part of the rig cannot be built; the message contains the last output of the command."""


def unique_name() -> str:
    """Return a unique name for a container: two containers of one name disturb each other."""
    return f"flowpi-{uuid.uuid4().hex[:12]}"


def run(command: Sequence[str | Path], *, timeout_s: float = 600, **options: object) -> str:
    """Run a program of this machine, and return its output.

    Raises:
        BuildFailed: it did not end with 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            **options,  # type: ignore[call-overload]
        )
    except FileNotFoundError as error:
        raise BuildFailed(f"{words[0]} is not installed: `make rig` installs what the rig needs") from error
    text: str = done.stdout.decode(errors="replace")
    if done.returncode:
        raise BuildFailed(f"{' '.join(words)}: exit code {done.returncode}\n{text[-4000:]}")
    return text


def mirror() -> str:
    """Return the first Debian mirror that apt uses on this machine.

    Raises:
        BuildFailed: this machine is not Debian.
    """
    uris = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(RELEASE)"])
    for line in uris.splitlines():
        uri, _, release = line.partition(" ")
        if release.startswith("Debian ") and "security" not in uri:
            return uri
    raise BuildFailed("apt knows no mirror of Debian here: run `apt-get update`, on Debian or Raspberry Pi OS")


def _apt_settings() -> list[str]:
    """Return the settings that this machine needs to reach its mirror, such as a proxy."""
    lines = run(["apt-config", "dump"]).splitlines()
    return [line.rstrip(";") for line in lines if re.match(r"Acquire::(http|https|Check-|Retries)", line)]


def bootstrap(suite: str, packages: Sequence[str], tree: Path) -> None:
    """Make a root of `suite` with `packages` and their dependencies, in about 45 s."""
    command: list[str | Path] = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--include={','.join(packages)}", f"--keyring={KEYRING}"]
    for setting in (*_apt_settings(), 'APT::Install-Recommends "false"'):
        command.append(f"--aptopt={setting}")
    for option in ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*", "force-unsafe-io"):
        command.append(f"--dpkgopt={option}")
    # The package lists stay, because packages are added later.
    command += ["--skip=cleanup/apt/lists,cleanup/apt/cache", suite, tree, mirror()]
    tree.rmdir()
    run(command)
    tree.chmod(0o755)


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


def inside(tree: Path, script: str, *binds: str, timeout_s: float = 600, writable: Sequence[str] = ()) -> str:
    """Run a shell script as root in a root, with this machine's network and settings of pip, and return its output.

    Args:
        binds: directories of this machine that it may read, as `/here:/there`.
        writable: those that it may also write to.

    Raises:
        BuildFailed: it did not end with 0.
    """
    command: list[str | Path] = ["systemd-nspawn", "--quiet", "--pipe", "--register=no", "--keep-unit"]
    command += [f"--machine={unique_name()}"]
    command += ["--directory", tree, "--resolv-conf=replace-host", "--timezone=off", "--link-journal=no"]
    command += [f"--setenv={name}={value}" for name, value in os.environ.items() if name.startswith("PIP_")]
    command += [f"--setenv={name}={os.environ[name]}" for name in os.environ if name.lower().endswith("_proxy")]
    command += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8"]
    command += [f"--bind-ro={bind}" for bind in (*_pip_binds(), *binds)] + [f"--bind={bind}" for bind in writable]
    return run([*command, "/bin/bash", "-euo", "pipefail", "-c", script], timeout_s=timeout_s)


def _pip_binds() -> Iterator[str]:
    """Yield the settings of pip on this machine, and the directories and certificates that they name."""
    for file in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        if file.exists():
            there = file if file.is_relative_to("/etc") else Path("/root") / file.relative_to(Path.home())
            yield f"{file}:{there}"
    settings = run(["python3", "-m", "pip", "config", "list"])
    named = re.findall(r"(?<![\w:/])/[^\s'\"]+", settings)
    indexes = re.findall(r"file://(/[^\s'\"]+)", settings)
    paths = {*named, *map(os.path.dirname, indexes)}  # the pages of an index refer to files beside them
    yield from sorted(path for path in paths if os.path.exists(path))


def install(tree: Path, packages: Sequence[str]) -> None:
    """Install packages of the suite and their dependencies, without recommended ones."""
    inside(tree, f"apt-get -qq update; apt-get -qq --yes --no-install-recommends install {' '.join(packages)}")


@contextlib.contextmanager
def layered(root: Path, work: Path) -> Iterator[Path]:
    """Yield a root that may be changed, an overlay on one that is not. The changes stay in `work` for the next time."""
    upper, spare, merged = work / "upper", work / "spare", work / "root"
    for directory in (upper, spare, merged):
        directory.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={root},upperdir={upper},workdir={spare}", merged])
    try:
        yield merged
    finally:
        run(["umount", merged])
