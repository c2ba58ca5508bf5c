"""The system files that flowpi ships, where each belongs, and whose it is then.

They go below /etc, where no package has its own. Each begins with a line that has the hash of the rest: what still
has its hash is flowpi's, to be replaced or deleted; what has not is the owner's.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from flowpi import __version__

SHIPPED = Path(__file__).parent.parent / "data"
"""`systemd/` and `flowpi.yaml`: links to those of the repository, in an installed flowpi copies."""

HOME = "/opt/flowpi"
"""Where the shipped units expect flowpi."""

UNITS = "/etc/systemd/system"
FOLDERS = {
    ".service": UNITS,
    ".sysusers": "/etc/sysusers.d",
    ".tmpfiles": "/etc/tmpfiles.d",
    ".rules": "/etc/udev/rules.d",
    ".catalog": "/etc/systemd/catalog",
}
NAMES = {".sysusers": "flowpi.conf", ".tmpfiles": "flowpi.conf", ".rules": "60-flowpi.rules"}

MARK = "# `flowpi setup` ({}) replaces and deletes this file as long as it is unchanged: sha256 {}\n"
MARKED = re.compile(rb"# `flowpi setup` \(.*\) .*: sha256 ([0-9a-f]{64})\n")


def read_shipped(folder: Path = SHIPPED) -> dict[str, bytes]:
    """The files in `systemd/`, by name."""
    found = {path.name: path.read_bytes() for path in sorted((folder / "systemd").iterdir())}
    return {name: content for name, content in found.items() if Path(name).suffix in FOLDERS}


def read_default_config(folder: Path = SHIPPED) -> bytes:
    return (folder / "flowpi.yaml").read_bytes()


def place(name: str) -> str:
    """The path of a shipped file."""
    suffix = Path(name).suffix
    return f"{FOLDERS[suffix]}/{NAMES.get(suffix, name)}"


def installed(shipped: Mapping[str, bytes], environment: str, libraries: str) -> dict[str, bytes]:
    """The files to be there, by path, for a flowpi that lives elsewhere than the units say.

    Args:
        shipped: by name.
        environment: the folder with bin/flowpi.
        libraries: the folder with those of its Python, which the units must allow too.
    """
    files = dict[str, bytes]()
    for name, content in shipped.items():
        if name.endswith(".service"):
            content = content.replace(HOME.encode(), environment.encode())
            if f"-{libraries}".encode() not in re.split(rb"[\s=]", content):
                content = re.sub(rb"(?m)^((?:Exec|BindReadOnly)Paths=)", rb"\1-%b " % libraries.encode(), content)
        files[place(name)] = MARK.format(__version__, hashlib.sha256(content).hexdigest()).encode() + content
    return files


def is_ours(content: bytes) -> bool:
    """Whether it is as some version of `flowpi setup` wrote it."""
    mark = MARKED.match(content)
    return mark is not None and hashlib.sha256(content[mark.end() :]).hexdigest().encode() == mark[1]


def enabled(shipped: Mapping[str, bytes]) -> list[str]:
    """The units that start at boot; the others are started by these. Those that only prepare come first."""
    names = [name for name, content in shipped.items() if b"\n[Install]\n" in content]
    return sorted(names, key=lambda name: (b"\nType=oneshot\n" not in shipped[name], name))
