"""`python -m tests.rig.build`: builds what the tests of the appliance need, from the package registries.

What is built already stays. It prints how long each step took. It needs root, and Debian.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.rig import image, store
from tests.rig.container import Container
from tests.rig.debian import SUITES, BuildFailed, inside
from tests.rig.home_assistant.root import home_assistant
from tests.rig.kernel_image import kernel
from tests.rig.package import PROCESSORS, desk, ground, older, package, shells, wheels

MACHINE_SUITE = "bookworm"
SCRIPTS = Path(__file__).parent


def install(tree: Path) -> None:
    """Install flowpi as a user does."""
    file = package(MACHINE_SUITE)
    inside(tree, f"dpkg --install /package/{file.name}", f"{file.parent}:/package")


def installed(suite: str, which: Callable[[str], Path] = package) -> list[Path]:
    """Return the layers of a Debian on which a package of flowpi was installed while it ran."""
    root, file = ground(suite), which(suite)
    key = store.key(root.name, file.parent.name, SCRIPTS / "container.py")
    place = store.kept(f"installed-{suite}", key, lambda place: _install_running(root, file, place))
    return [place / "changes", root]


def _install_running(root: Path, file: Path, place: Path) -> None:
    with Container([root], place / "work") as container:
        container.put(file, "/root/flowpi.deb")
        container.sh("dpkg --install /root/flowpi.deb && rm /root/flowpi.deb && systemctl stop 'flowpi*' && sync")
    container.changes.rename(place / "changes")
    store.remove(place / "work")


def machine_disks() -> Path:
    """Return the disks of a machine on which flowpi is installed, and which was never booted."""
    root, parts = ground(MACHINE_SUITE), sorted((SCRIPTS / "guest").iterdir())
    key = store.key(root.name, package(MACHINE_SUITE).parent.name, kernel().name, SCRIPTS / "image.py", *parts)
    return store.kept("disks", key, lambda place: image.disks(root, kernel(), place, install))


def ready_machine() -> Path:
    """Return the disks of a machine that was booted and saved as `image.READY`."""
    disks = machine_disks()
    key = store.key(disks.name, SCRIPTS / "machine.py")
    return store.kept("machine", key, lambda place: image.boot(kernel(), disks, place))


def check() -> None:
    """Check that the rig can be used on this machine.

    Raises:
        BuildFailed: it cannot; the message says what to do.
    """
    if os.geteuid() != 0:
        raise BuildFailed("only root can make a root of Debian and start a container: `sudo make rig`")
    if os.uname().machine != "x86_64":
        raise BuildFailed(f"the rig's machine is an x86-64, and this is {os.uname().machine}")


def build() -> None:
    """Build everything that is missing.

    Raises:
        BuildFailed: something cannot be built; the message says what to do.
    """
    check()
    store.sweep()
    with ThreadPoolExecutor() as builders:  # builders mostly wait for a mirror, or use one core
        parts: list[Future[object]] = [builders.submit(desk, suite) for suite in SUITES]
        parts += [builders.submit(installed, suite, which) for suite in SUITES for which in (package, older)]
        parts += [builders.submit(shells, suite) for suite in SUITES]
        parts += [builders.submit(package, suite, arch) for suite in SUITES for arch in PROCESSORS]
        parts.append(builders.submit(wheels, "bookworm"))
        parts.append(builders.submit(kernel))
        house = builders.submit(home_assistant)  # last: nothing else stands on it
        for part in parts:
            part.result()
        ready_machine()
        house.result()


def main() -> int:
    began = time.monotonic()
    try:
        build()
    except BuildFailed as error:
        print(f"rig: {error}", file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:6.1f} s  the rig is ready in {store.directory()}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
