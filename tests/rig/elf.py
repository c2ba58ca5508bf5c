"""What ELF files, programs and libraries, say of themselves: of any processor, as binutils reads them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig import debian

MAGIC = b"\x7fELF"


@dataclass
class Elf:
    """What one file says."""

    machine: str = ""
    needed: set[str] = field(default_factory=set)
    """The names of the libraries that it needs, such as `libc.so.6`."""

    versions: dict[str, set[str]] = field(default_factory=dict)
    """The versions of symbols, such as `GLIBC_2.34`, that it needs of each library."""

    defined: set[str] = field(default_factory=set)
    """The versions of symbols that it has, if it is a library."""


def elf_files(tree: Path) -> Iterator[Path]:
    """Yield the ELF files below a directory."""
    for path in tree.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(len(MAGIC)) == MAGIC:
                    yield path


def read(files: Iterable[Path]) -> dict[Path, Elf]:
    """Return what each of these ELF files says."""
    paths = sorted(files)
    # It names a file only if there are more.
    output = debian.run(["readelf", "--wide", "--file-header", "--dynamic", "--version-info", *paths, *paths[:1]])
    sections = re.split(r"(?m)^File: (.+)\n", output)[1:]
    said = dict(zip(sections[::2], sections[1::2], strict=True))
    return {path: _parse(said[str(path)]) for path in paths}


def _parse(text: str) -> Elf:
    elf = Elf()
    part = library = ""
    for line in text.splitlines():
        if match := re.match(r"\s+Machine:\s+(.+)", line):
            elf.machine = match[1].strip()
        elif match := re.search(r"\(NEEDED\).*\[(.+)\]", line):
            elf.needed.add(match[1])
        elif match := re.match(r"Version (symbols|definition|needs) section", line):
            part = match[1]
        elif part == "needs" and (match := re.search(r"File: (\S+)", line)):
            library = match[1]
            elf.versions[library] = set()
        elif part != "symbols" and (match := re.search(r"Name: (\S+)", line)):
            (elf.versions[library] if part == "needs" else elf.defined).add(match[1])
    return elf
