"""The Debian package of this work tree, built by `make deb` on each suite, and roots to install it on."""

import inspect
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.rig import debian, store

TREE = Path(__file__).parents[2]
NATIVE = "amd64"
"""This machine's processor, as Debian names it: the rig runs on no other."""

PROCESSORS = (NATIVE, "arm64")
"""Those that flowpi has packages for."""

ASR = "systemd/system/flowpi-asr.service"
MADE_OF = (
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "config",
    "debian",
    "flowpi",
    "pyproject.toml",
    "systemd",
)


def sources() -> Iterator[Path]:
    """Yield the files that a package is made of, relative to the work tree, except those that git ignores."""
    listing = subprocess.run(
        [
            "git",
            "-c",
            f"safe.directory={TREE}",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            *MADE_OF,
        ],
        cwd=TREE,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in sorted(set(listing.stdout.split("\0"))):
        if name and os.path.lexists(TREE / name):
            yield Path(name)


def _content(path: Path) -> bytes | Path:
    return os.fsencode(path.readlink()) if path.is_symlink() else path


def package(suite: str, arch: str = NATIVE) -> Path:
    """Return the .deb for a suite and a processor. It takes one to two minutes if something of it has changed.

    The list of what is in it is beside it, with `.cdx.json` in the place of `.deb`.
    """
    parts = (part for name in sources() for part in (str(name), _content(TREE / name)))
    place = store.kept(
        f"package-{suite}-{arch}", store.key(suite, arch, *parts), lambda place: _build(suite, arch, place)
    )
    (file,) = place.glob("*.deb")
    return file


def larger_model() -> Path:
    """Return the .deb of Moonshine base, which `make rig` builds."""
    files = list((TREE / "dist").glob("flowpi-model-base-en_*.deb"))
    assert files, "run `make model`"
    return max(files)


def copy_sources(place: Path) -> None:
    for name in sources():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TREE / name, place / name, follow_symlinks=False)


def _build(suite: str, arch: str, place: Path) -> None:
    source = place / "source"
    copy_sources(source)
    root = ":".join(map(str, workshop_for(suite, arch)))
    command: list[str | Path] = ["make", "-C", source, "deb", f"ARCH={arch}", f"SUITE={suite}", f"DEB_ROOT={root}"]
    debian.run(command, timeout_s=1800)
    for file in source.glob("dist/*"):
        file.rename(place / file.name)
    store.remove(source)


def workshop(suite: str) -> Path:
    """Return a root with what `make deb` needs, so that it is not installed each time."""
    packages = ["make", "git", *_variable("BUILD_PACKAGES"), *_variable("DEB_PACKAGES")]
    root = debian.root(suite)
    return store.kept(
        f"workshop-{suite}",
        store.key(root.name, *packages),
        lambda tree: _extended(root, tree, packages),
    )


def _extended(root: Path, tree: Path, packages: list[str]) -> None:
    debian.copy(root, tree)
    debian.install(tree, packages)


def workshop_for(suite: str, arch: str) -> list[Path]:
    """Return the layers of a root with what `make deb` needs for a processor."""
    root = workshop(suite)
    if arch == NATIVE:
        return [root]
    packages = _variable("DEB_PACKAGES", f"ARCH={arch}")
    key = store.key(root.name, *packages, inspect.getsource(_with_other))
    return [store.kept(f"workshop-{suite}-{arch}", key, lambda place: _with_other(root, arch, packages, place)), root]


def _with_other(root: Path, arch: str, packages: list[str], place: Path) -> None:
    with debian.layered(root, place / "work") as tree:
        debian.inside(tree, f"dpkg --add-architecture {arch}")
        debian.install(tree, packages)
        debian.inside(tree, "apt-get clean; rm -rf /var/lib/apt/lists/*")
    for path in (place / "work/upper").iterdir():
        path.rename(place / path.name)
    store.remove(place / "work")


def _variable(name: str, *settings: str) -> list[str]:
    """Return the words of a variable in the Makefile."""
    show = f"show: ; @echo $({name})"
    return debian.run(
        ["make", "--silent", "--no-print-directory", "-C", TREE, "--eval", show, "show", *settings]
    ).split()


def needs(file: Path) -> str:
    return debian.run(["dpkg-deb", "--field", file, "Depends"]).strip()


def ground(suite: str) -> Path:
    """Return a root with all dependencies of the package, so that `dpkg --install` works in it without a network."""
    root, depends = debian.root(suite), needs(package(suite))
    return store.kept(
        f"ground-{suite}",
        store.key(root.name, depends),
        lambda tree: _satisfied(root, tree, depends),
    )


def _satisfied(root: Path, tree: Path, depends: str) -> None:
    debian.copy(root, tree)
    debian.inside(tree, f"apt-get -qq update; apt-get -qq --yes --no-install-recommends satisfy '{depends}'")


def desk(suite: str) -> Path:
    """Return a root like that of a user: with what `make deb` needs, the dependencies of the package, and sudo."""
    root, depends = workshop(suite), needs(package(suite))
    return store.kept(f"desk-{suite}", store.key(root.name, depends), lambda tree: _furnished(root, tree, depends))


def _furnished(root: Path, tree: Path, depends: str) -> None:
    _satisfied(root, tree, depends)
    debian.install(tree, ["sudo"])


def wheels(suite: str) -> Path:
    """Return a layer with all that `pip install flowpi[local]` downloads, in a directory where pip finds it."""
    root = workshop(suite)
    return store.kept(
        f"wheels-{suite}", store.key(root.name, TREE / "pyproject.toml"), lambda place: _download(root, place)
    )


def _download(root: Path, place: Path) -> None:
    source, work = place / "source", place / "work"
    copy_sources(source)
    (place / "wheels").mkdir()
    script = "python3 -m venv /venv && /venv/bin/pip download --quiet --dest /wheels '/source[local]' 'setuptools>=69'"
    with debian.layered(root, work) as tree:
        debian.inside(tree, script, writable=[f"{source}:/source", f"{place / 'wheels'}:/wheels"])
    for own in (place / "wheels").glob("flowpi-*"):
        own.unlink()
    store.remove(source)
    store.remove(work)
    (place / "etc").mkdir()
    (place / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")


SHELLS = ("bash-completion", "fish", "zsh")


def shells(suite: str) -> list[Path]:
    """Return the packages of the shells that complete what is typed, and what they need besides `ground`."""
    root = ground(suite)
    place = store.kept(f"shells-{suite}", store.key(root.name, *SHELLS), lambda place: _fetch(root, place))
    return sorted(place.glob("*.deb"))


def _fetch(root: Path, place: Path) -> None:
    work = place / "work"
    get = "apt-get -qq --yes --no-install-recommends --download-only --option Dir::Cache::archives=/packages install"
    with debian.layered(root, work) as tree:
        debian.inside(tree, f"apt-get -qq update; {get} {' '.join(SHELLS)}", writable=[f"{place}:/packages"])
    store.remove(work)
    store.remove(place / "partial")
    (place / "lock").unlink(missing_ok=True)


def older(suite: str, arch: str = NATIVE) -> Path:
    """Return the package as an earlier version, for tests of upgrades.

    It has another default configuration, and its recogniser shares the user and the directory of the daemon.
    """
    file = package(suite, arch)
    place = store.kept(
        f"older-{suite}-{arch}",
        store.key(file.parent.name, inspect.getsource(_age), inspect.getsource(_with_one_user)),
        lambda place: _age(file, place),
    )
    (aged,) = place.glob("*.deb")
    return aged


def _age(file: Path, place: Path) -> None:
    tree = place / "tree"
    debian.run(["dpkg-deb", "--raw-extract", file, tree])
    control = tree / "DEBIAN/control"
    lines = ["Version: 0.0.1" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    with (tree / "usr/share/flowpi/flowpi.yaml").open("a") as default:
        default.write("# of an earlier version\n")
    _with_one_user(tree)
    debian.run(["dpkg-deb", "-Znone", "--build", tree, place / "flowpi_0.0.1.deb"])
    store.remove(tree)


def _with_one_user(tree: Path) -> None:
    """Give the recogniser the user and the directory that it had in version 0.1.0."""
    (unit,) = (tree / folder for folder in ("lib", "usr/lib") if (tree / folder / ASR).exists())
    text = (unit / ASR).read_text().replace("=flowpi-asr\n", "=flowpi\n").replace(" /run/flowpi-asr", "")
    text = re.sub(
        r"(?m)^(ExecStartPre|Environment=FLOWPI_HANDED_OVER|ReadWritePaths|InaccessiblePaths)\b.*\n", "", text
    )
    shared = (
        "RuntimeDirectory=flowpi\nRuntimeDirectoryMode=0750\nRuntimeDirectoryPreserve=yes\nWorkingDirectory=/run/flowpi"
    )
    (unit / ASR).write_text(re.sub(r"(?m)^WorkingDirectory=.*$", shared, text))
    for name in ("sysusers.d/flowpi.conf", "tmpfiles.d/flowpi.conf"):
        lines = (tree / "usr/lib" / name).read_text().splitlines(keepends=True)
        (tree / "usr/lib" / name).write_text("".join(line for line in lines if "flowpi-asr" not in line))
