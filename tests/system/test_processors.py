"""The package for each processor and suite, looked at from outside: nothing of it runs, so also what is for a Pi."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import flowpi
from tests.rig import debian, elf, store
from tests.rig.package import NATIVE, PROCESSORS, package, workshop_for

pytestmark = pytest.mark.nspawn

MACHINES = {"amd64": "Advanced Micro Devices X86-64", "arm64": "AArch64"}
"""The names that readelf has for the processors."""

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

SITE = "opt/flowpi/lib/python3.*/site-packages"
UNCHECKED_HASH = (1).to_bytes(4, "little")
"""The flags of a .pyc file that Python uses without a look at its source."""


class Unpacked:
    """A package, its files in `tree`."""

    def __init__(self, suite: str, arch: str, tree: Path) -> None:
        self.deb, self.tree, self.layers = package(suite, arch), tree, workshop_for(suite, arch)
        debian.run(["dpkg-deb", "--extract", self.deb, tree])
        (self.site,) = tree.glob(SITE)
        self.elfs = elf.read(elf.elf_files(tree))

    def field(self, name: str) -> str:
        return debian.run(["dpkg-deb", "--field", self.deb, name]).strip()

    def files(self) -> set[str]:
        """Return its files, without what is between the dots of the names of libraries: the processor, or a hash."""
        paths = (path.relative_to(self.tree) for path in self.tree.rglob("*") if not path.is_dir())
        return {re.sub(r"([-.][^/]+|_(x86_64|arm64))?\.so(\.[^/]*)?$", ".so", str(path)) for path in paths}


@pytest.fixture(scope="module", params=PROCESSORS)
def arch(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def unpacked(usable: None, suite: str, arch: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unpacked]:
    tree = tmp_path_factory.mktemp("unpacked")
    yield Unpacked(suite, arch, tree)
    store.remove(tree)


@pytest.fixture(scope="module")
def native(usable: None, suite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unpacked]:
    tree = tmp_path_factory.mktemp("native")
    yield Unpacked(suite, NATIVE, tree)
    store.remove(tree)


def libraries(layers: list[Path], arch: str) -> dict[str, tuple[str, Path]]:
    """Return the libraries for a processor that a Debian has, by name: each with its package, and where it is."""
    found = {}
    lists = itertools.chain.from_iterable(layer.glob(f"var/lib/dpkg/info/*:{arch}.list") for layer in layers)
    for file in lists:
        for name in re.findall(rf"(?m)^(?:/usr)?/lib/{TRIPLETS[arch]}/([^/\n]+\.so\.[^/\n]+)$", file.read_text()):
            for place in (layer / "usr/lib" / TRIPLETS[arch] / name for layer in layers):
                if place.is_file():
                    found[name] = (file.name.removesuffix(f":{arch}.list"), place)
    return found


def test_every_program_and_library_is_for_the_processor(unpacked: Unpacked, arch: str) -> None:
    assert unpacked.field("Architecture") == arch
    assert len(unpacked.elfs) > 30
    assert {said.machine for said in unpacked.elfs.values()} == {MACHINES[arch]}


def test_lintian_finds_no_error(unpacked: Unpacked) -> None:
    debian.run(["lintian", "--fail-on", "error", unpacked.deb])


def test_what_the_libraries_need_is_in_it_or_in_what_it_depends_on(unpacked: Unpacked, arch: str) -> None:
    """Also the version of each symbol, such as those of a C library that is newer than the suite's."""
    system = libraries(unpacked.layers, arch)
    own = {path.name: path for path in unpacked.elfs}
    needed = {name for said in unpacked.elfs.values() for name in said.needed}
    definitions = elf.read(system[name][1] for name in needed & system.keys())
    dependencies = re.findall(r"[a-z0-9.+-]+(?= |,|$)", re.sub(r"\(.*?\)", "", unpacked.field("Depends")))
    missing = []
    for path, said in unpacked.elfs.items():
        for name in said.needed:
            if name in own:
                has = unpacked.elfs[own[name]].defined
            elif name in system and system[name][0] in dependencies:
                has = definitions[system[name][1]].defined
            else:
                missing.append((path.name, name, "the library"))
                continue
            missing += [(path.name, name, version) for version in said.versions.get(name, set()) - has]
    assert missing == []


def test_it_has_the_same_parts_as_for_this_machine(unpacked: Unpacked, native: Unpacked) -> None:
    """Also the same modules of Python, in source and compiled, in the same versions."""
    bundled = re.compile(r"\.libs/")  # what the makers of a wheel had to put in differs
    differs = {path for path in unpacked.files() ^ native.files() if not bundled.search(path)}
    assert differs == set()
    for source in unpacked.site.rglob("*.py"):
        compiled = list((source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc"))
        assert len(compiled) == 1, source
        assert compiled[0].read_bytes()[4:8] == UNCHECKED_HASH, source


def test_the_list_of_what_is_in_it_is_true(unpacked: Unpacked) -> None:
    said = json.loads(unpacked.deb.with_suffix(".cdx.json").read_text())
    listed = {(one["name"], one["version"]) for one in said["components"]}
    there = [path.stem.rpartition("-") for path in unpacked.site.glob("*.dist-info")]
    own = (flowpi.__name__, flowpi.__version__)
    assert said["metadata"]["component"]["name"] == flowpi.__name__
    assert {(canonicalize_name(name), version) for name, version in {*listed, own}} == {
        (canonicalize_name(name), version) for name, _, version in there
    }
