"""Debian for arm64 on this machine: QEMU executes the instructions of its programs, and this machine's kernel does the
rest. A booted one is a `Container` like any other, with systemd and the units as they are installed.

What differs from a Pi: the kernel, the speed, and that services have no sandbox and no credentials (`IN_NO_NAMESPACE`).
On an ARM machine nothing is emulated.

`python -m tests.rig.arm`: builds what the tests need.
"""

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.rig import debian, store
from tests.rig.container import ENVIRONMENT, WITH_THIS_PROCESS, Container, Done
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
    "ProcSubset=all",
    *(f"{name}Paths=" for name in ("BindReadOnly", "Exec", "Inaccessible", "NoExec", "ReadOnly", "ReadWrite")),
    "TemporaryFileSystem=",
    *(f"{name}Credential=" for name in ("Import", "Load", "Set")),
)
"""The settings without which a service has no namespace of its own, and no credentials, which systemd writes in one:
QEMU's user mode does not carry out all that systemd makes them with. `test_sandbox.py` tries the sandbox, with this
machine's processor."""

SLOW = ("TimeoutStartSec=1800", "TimeoutStopSec=600", "WatchdogSec=0")
"""The same steps take ten times as long, and on a busy machine a hundred times."""

PATIENCE_S = 1800.0
"""The time limit of each wait, as of systemd's above."""

SETTINGS = {
    "system.conf.d": ("[Manager]", *(f"DefaultEnvironment={name}={value}" for name, value in PROCESSOR.items())),
    "system/service.d": ("[Service]", *IN_NO_NAMESPACE, *SLOW),
}
"""What systemd is told for all services, by the directory below /etc/systemd."""

PYTHON = {"bookworm": "3.11", "trixie": "3.13"}

WHEELS = ("hypothesis", "jiwer", "pytest", "pytest-asyncio", "srt", "webvtt-py", "whisper-normalizer")
"""What the tests import besides flowpi and what its package has."""

COMPILER = "py_compile.py"
IN_ITS_PLACE = 'import sys; "-" in sys.argv and sys.stdin.read()'
"""What installs Python compiles its library with, and what it runs here: emulated, that would be a minute and more of
computing. This machine's Python of the same version writes the same bytecode."""

DEVICES = ("/lib/udev/hwdb.d/*", "/usr/lib/udev/hwdb.d/*")
"""What udev knows of the world's devices, which it would compile as well; a container has none of them."""

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
    key = store.key(suite, *packages, inspect.getsource(_make), *scripts)
    return store.kept(f"{ARCH}-{suite}", key, lambda tree: _make(suite, packages, tree))


def _make(suite: str, packages: Iterable[str], tree: Path) -> None:
    emulate()
    tree.rmdir()
    library = f"usr/lib/python{PYTHON[suite]}"
    options = [f"--dpkgopt=path-exclude={path}" for path in (f"/{library}/{COMPILER}", *DEVICES)]
    options.append(f"""--essential-hook=mkdir -p "$1/{library}"; echo '{IN_ITS_PLACE}' > "$1/{library}/{COMPILER}\"""")
    debian.run([IMAGE / "make-root", *options, suite, tree, *packages], timeout_s=3600)
    native = debian.root(suite)
    shutil.copy(native / library / COMPILER, tree / library)
    python: list[str | Path] = [
        native / "lib64/ld-linux-x86-64.so.2",
        "--library-path",
        native / "lib/x86_64-linux-gnu",
    ]
    python += [native / "usr/bin/python3", "-m", "compileall", "-q", "-s", tree, "-p", "/", tree / library]
    debian.run(python, env={"PYTHONHOME": str(native / "usr")})


def booted(layers: list[Path], work: Path) -> Container:
    """Return a container that is not started yet."""
    emulate()
    container = Container(layers, work, PROCESSOR, PATIENCE_S)
    for place, lines in SETTINGS.items():
        directory = container.changes / "etc/systemd" / place
        directory.mkdir(parents=True)
        (directory / "emulated.conf").write_text("\n".join(lines) + "\n")
    return container


@contextmanager
def unbooted(layers: Sequence[Path], work: Path) -> Iterator[tuple[Path, Callable[[str, float], Done]]]:
    """Yield a root that may be changed, and a function that runs a shell script in it, without systemd or a network.

    The function takes a time limit in seconds. It does without the half minute of computing that a boot is.
    """
    emulate()
    with debian.layered(layers[-1], work, *layers[:-1]) as tree:

        def run(script: str, timeout_s: float) -> Done:
            command = [*WITH_THIS_PROCESS, "systemd-nspawn", "--quiet", "--pipe", "--register=no", "--keep-unit"]
            command += [f"--machine={debian.unique_name()}", "--private-network", "--as-pid2", f"--directory={tree}"]
            command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
            command += [f"--setenv={name}={value}" for name, value in {**ENVIRONMENT, **PROCESSOR}.items()]
            done = subprocess.run(
                [*command, "/bin/bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
            )
            return Done(done.returncode, done.stdout.decode(errors="replace"))

        yield tree, run


def workbench(suite: str) -> Path:
    """Return a layer with the files of the package, not installed, and in /opt/wheels what the tests import."""
    file = package(suite, ARCH)
    key = store.key(file.parent.name, PYTHON[suite], *WHEELS, *PLATFORMS, inspect.getsource(_furnish))
    return store.kept(f"workbench-{suite}-{ARCH}", key, lambda place: _furnish(PYTHON[suite], file, place))


def _furnish(python: str, file: Path, place: Path) -> None:
    debian.run(["dpkg-deb", "--extract", file, place / "package"])
    (place / "package/opt").rename(place / "opt")
    store.remove(place / "package")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pip += ["install", "--target", place / "opt/wheels"]
    ready = ["--only-binary=:all:", f"--python-version={python}", *(f"--platform={name}_aarch64" for name in PLATFORMS)]
    debian.run([*pip, *ready, *(name for name in WHEELS if name != "srt")])
    debian.run([*pip, "--no-deps", "srt"])  # it has no wheel, and is Python alone


def build() -> None:
    """Build everything that is missing.

    Raises:
        BuildFailed: something cannot be built; the message says what to do.
    """
    if os.geteuid() != 0:
        raise BuildFailed("only root can make a root of Debian and start a container: `sudo make rig-arm`")
    with ThreadPoolExecutor() as builders:
        parts: list[Future[object]] = [builders.submit(root, suite) for suite in SUITES]
        parts += [builders.submit(older, suite, ARCH) for suite in SUITES]
        parts.append(builders.submit(workbench, "trixie"))
        for part in parts:
            part.result()


if __name__ == "__main__":
    try:
        build()
    except BuildFailed as error:
        sys.exit(f"rig: {error}")
