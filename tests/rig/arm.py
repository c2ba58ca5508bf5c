"""Debian for arm64 on this machine: QEMU executes the instructions of its programs, and this machine's kernel does the
rest. A booted one is a `Container` like any other, with systemd and the units as they are installed.

What differs from a Pi: the kernel, the speed, and that services have no sandbox and no credentials (`IN_NO_NAMESPACE`).
On an ARM machine nothing is emulated.

`python -m tests.rig.arm`: builds what the tests need.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.rig import debian, store
from tests.rig.container import Container
from tests.rig.debian import SUITES, BuildFailed
from tests.rig.package import TREE, needs, older, package

ARCH = "arm64"
IMAGE = TREE / "image"

PROCESSOR = {"QEMU_CPU": "cortex-a53"}
"""The environment in which QEMU is the processor of a Pi 3 and a Zero 2 W: an instruction that only newer ones have is
an illegal one, as it is there. Left to itself, QEMU knows them all."""

SYSTEM = ("systemd", "systemd-sysv", "procps", "python3")

IN_NO_NAMESPACE = (
    *(f"{name}=no" for name in ("PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateNetwork", "PrivateTmp")),
    *(f"ProtectKernel{name}=no" for name in ("Logs", "Modules", "Tunables")),
    *(f"Protect{name}=no" for name in ("ControlGroups", "Home", "Hostname", "System")),
    "ProtectProc=default",
    *(f"{name}Paths=" for name in ("BindReadOnly", "Exec", "Inaccessible", "NoExec", "ReadOnly", "ReadWrite")),
    "TemporaryFileSystem=",
    *(f"{name}Credential=" for name in ("Import", "Load", "Set")),
)
"""The settings without which a service has no namespace of its own, and no credentials, which systemd writes in one:
QEMU's user mode does not carry out all that systemd makes them with. `test_sandbox.py` tries the sandbox, with this
machine's processor."""

SLOW = ("TimeoutStartSec=1800", "TimeoutStopSec=600", "WatchdogSec=0")
"""The same steps take ten times as long, and on a busy machine a hundred times."""

SETTINGS = {
    "system.conf.d": ("[Manager]", *(f"DefaultEnvironment={name}={value}" for name, value in PROCESSOR.items())),
    "system/service.d": ("[Service]", *IN_NO_NAMESPACE, *SLOW),
}
"""What systemd is told for all services, by the directory below /etc/systemd."""

PYTHON = {"bookworm": "3.11", "trixie": "3.13"}

WHEELS = ("hypothesis", "jiwer", "pytest", "pytest-asyncio", "srt", "webvtt-py", "whisper-normalizer")
"""What the tests import besides flowpi and what its package has."""

PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")


def emulate() -> None:
    """Let this machine's kernel run programs for arm64, until it is switched off or `image/emulate --undo`."""
    emulator = store.directory() / "qemu-user"
    debian.run([IMAGE / "emulate", emulator])
    if emulator.exists():
        os.utime(emulator)  # the store keeps what is used


def root(suite: str) -> Path:
    """Return a root with the dependencies of the package, so that `dpkg --install` works in it without a network."""
    names = (re.match(r"[a-z0-9+.-]+", one.strip()) for one in needs(package(suite, ARCH)).split(","))
    packages = sorted({*SYSTEM, *(name[0] for name in names if name)})
    scripts = sorted(path for path in IMAGE.iterdir() if path.name in ("make-root", "native-helpers", "sources"))
    key = store.key(suite, *packages, repr(SETTINGS), *scripts)
    return store.kept(f"{ARCH}-{suite}", key, lambda tree: _make(suite, packages, tree))


def _make(suite: str, packages: Iterable[str], tree: Path) -> None:
    emulate()
    tree.rmdir()
    debian.run([IMAGE / "make-root", suite, tree, *packages], timeout_s=3600)
    for place, lines in SETTINGS.items():
        directory = tree / "etc/systemd" / place
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "emulated.conf").write_text("\n".join(lines) + "\n")


def booted(layers: list[Path], work: Path) -> Container:
    """Return a container that is not started yet."""
    emulate()
    return Container(layers, work, PROCESSOR)


def installed(suite: str, which: Callable[[str, str], Path] = package) -> list[Path]:
    """Return the layers of a Debian on which a package of flowpi was installed while it ran."""
    base, file = root(suite), which(suite, ARCH)
    key = store.key(base.name, file.parent.name, Path(__file__), Path(__file__).with_name("container.py"))
    place = store.kept(f"installed-{suite}-{ARCH}", key, lambda place: _install(base, file, place))
    return [place / "changes", base]


def _install(base: Path, file: Path, place: Path) -> None:
    with booted([base], place / "work") as container:
        container.put(file, "/root/flowpi.deb")
        install = "dpkg --install /root/flowpi.deb && rm /root/flowpi.deb && systemctl stop 'flowpi*' && sync"
        container.sh(install, timeout_s=3600)
    container.changes.rename(place / "changes")
    store.remove(place / "work")


def workbench(suite: str) -> Path:
    """Return a layer for one with flowpi: what the tests import is in /opt/wheels, and no service of flowpi starts."""
    key = store.key(PYTHON[suite], *WHEELS, *PLATFORMS, inspect.getsource(_furnish))
    return store.kept(f"workbench-{suite}-{ARCH}", key, lambda place: _furnish(PYTHON[suite], place))


def _furnish(python: str, place: Path) -> None:
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pip += ["install", "--target", place / "opt/wheels"]
    ready = ["--only-binary=:all:", f"--python-version={python}", *(f"--platform={name}_aarch64" for name in PLATFORMS)]
    debian.run([*pip, *ready, *(name for name in WHEELS if name != "srt")])
    debian.run([*pip, "--no-deps", "srt"])  # it has no wheel, and is Python alone
    units = place / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in (TREE / "systemd").glob("*.service"):
        (units / unit.name).symlink_to("/dev/null")


def build() -> None:
    """Build everything that is missing.

    Raises:
        BuildFailed: something cannot be built; the message says what to do.
    """
    if os.geteuid() != 0:
        raise BuildFailed("only root can make a root of Debian and start a container: `sudo make rig-arm`")
    with ThreadPoolExecutor() as builders:
        parts: list[Future[object]] = [
            builders.submit(installed, suite, which) for suite in SUITES for which in (package, older)
        ]
        parts.append(builders.submit(workbench, "trixie"))
        for part in parts:
            part.result()


if __name__ == "__main__":
    try:
        build()
    except BuildFailed as error:
        sys.exit(f"rig: {error}")
