"""The system files that flowpi ships, their places, and the mark that shows whether the user has changed one.

The files go below /etc, where no package puts its own. Each begins with a line that holds the hash of the rest: a file
that still matches its hash may be replaced or deleted; any other file belongs to the user.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from flowpi import __version__

SHIPPED = Path(__file__).parent.parent / "data"
"""The folder with `systemd/` and `flowpi.yaml`: links into the repository, or copies in an installed flowpi."""

HOME = "/opt/flowpi"
"""The folder where the shipped units expect flowpi."""

UNITS = "/etc/systemd/system"
FOLDERS = {
    ".service": UNITS,
    ".sysusers": "/etc/sysusers.d",
    ".tmpfiles": "/etc/tmpfiles.d",
    ".rules": "/etc/udev/rules.d",
    ".catalog": "/etc/systemd/catalog",
}
NAMES = {".sysusers": "flowpi.conf", ".tmpfiles": "flowpi.conf", ".rules": "60-flowpi.rules"}

SINCE = {b"RestartMode": 254}
"""The version of systemd from which on it knows a key; an older one warns about it, and does without."""

MARK = "# `flowpi setup` ({}) replaces and deletes this file as long as it is unchanged: sha256 {}\n"
MARKED = re.compile(rb"# `flowpi setup` \(.*\) .*: sha256 ([0-9a-f]{64})\n")


def read_shipped(folder: Path = SHIPPED) -> dict[str, bytes]:
    """Return the content of the files in `systemd/` by name."""
    found = {path.name: path.read_bytes() for path in sorted((folder / "systemd").iterdir())}
    return {name: content for name, content in found.items() if Path(name).suffix in FOLDERS}


def read_default_config(folder: Path = SHIPPED) -> bytes:
    return (folder / "flowpi.yaml").read_bytes()


def place(name: str) -> str:
    """Return the path at which a shipped file is installed."""
    suffix = Path(name).suffix
    return f"{FOLDERS[suffix]}/{NAMES.get(suffix, name)}"


def without_newer(unit: bytes, systemd: int | None) -> bytes:
    """Return a unit without the keys that this version of systemd does not know; None: no version is known."""
    for key, since in SINCE.items():
        if systemd is not None and systemd < since:
            unit = re.sub(rb"(?m)^%b=.*\n" % key, b"", unit)
    return unit


def installed(
    shipped: Mapping[str, bytes], environment: str, libraries: str, systemd: int | None = None
) -> dict[str, bytes]:
    """Return the content of the files to install by path, adapted to the machine.

    Args:
        shipped: the content of the shipped files by name.
        environment: the folder with bin/flowpi.
        libraries: the folder with the libraries of its Python, which the units must allow too.
        systemd: as for `without_newer`.
    """
    files = dict[str, bytes]()
    for name, content in shipped.items():
        if name.endswith(".service"):
            content = without_newer(content, systemd).replace(HOME.encode(), environment.encode())
            if f"-{libraries}".encode() not in re.split(rb"[\s=]", content):
                content = re.sub(rb"(?m)^((?:Exec|BindReadOnly)Paths=)", rb"\1-%b " % libraries.encode(), content)
        files[place(name)] = MARK.format(__version__, hashlib.sha256(content).hexdigest()).encode() + content
    return files


def is_ours(content: bytes) -> bool:
    """Whether the content is unchanged since some version of `flowpi setup` wrote it."""
    mark = MARKED.match(content)
    return mark is not None and hashlib.sha256(content[mark.end() :]).hexdigest().encode() == mark[1]


def enabled(shipped: Mapping[str, bytes]) -> list[str]:
    """Return the units that start at boot, oneshot units first; they start the other units."""
    names = [name for name, content in shipped.items() if b"\n[Install]\n" in content]
    return sorted(names, key=lambda name: (b"\nType=oneshot\n" not in shipped[name], name))
