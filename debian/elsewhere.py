"""Build the package in a Debian of its own, as `make deb` does for another suite or processor than this machine's.

The root has this machine's processor, so nothing is emulated. For another processor it has Debian's cross compiler, and
the libraries and headers of both. It is made from this machine's mirror of Debian. The commands in it run with this
machine's network and its settings of apt and pip: they are for building, never for tests.

The rig's roots are made by these functions too. They need root.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class BuildFailed(Exception):
    """A root cannot be made, or a command in it failed; the message contains the last output of the command."""


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
        raise BuildFailed(f"{words[0]} is not installed: `make` installs what it needs") from error
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


def bootstrap(suite: str, packages: Sequence[str], tree: Path, *, foreign: Sequence[str] = ()) -> None:
    """Make a root of `suite` with `packages` and their dependencies, in about 45 s.

    Args:
        foreign: the processors of which it can have libraries too, besides this machine's, as Debian names them.
    """
    native = run(["dpkg", "--print-architecture"]).strip()
    processors = dict.fromkeys((native, *foreign))
    command: list[str | Path] = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--architectures={','.join(processors)}"]
    command += [f"--include={','.join(packages)}", f"--keyring={KEYRING}"]
    for setting in (*_apt_settings(), 'APT::Install-Recommends "false"'):
        command.append(f"--aptopt={setting}")
    for option in ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*", "force-unsafe-io"):
        command.append(f"--dpkgopt={option}")
    # The package lists stay, because packages are added later.
    command += ["--skip=cleanup/apt/lists,cleanup/apt/cache", suite, tree, mirror()]
    tree.rmdir()
    run(command, timeout_s=1200)
    tree.chmod(0o755)


def _inside(tree: Path, script: str, binds: Sequence[str], writable: Sequence[str]) -> list[str | Path]:
    """Return the command that runs a shell script as root in a root; see `inside`."""
    command: list[str | Path] = ["systemd-nspawn", "--quiet", "--pipe", "--register=no", "--keep-unit"]
    command += [f"--machine={unique_name()}"]
    command += ["--directory", tree, "--resolv-conf=replace-host", "--timezone=off", "--link-journal=no"]
    # By name alone: their values may hold passwords, and a command is shown by `ps`, and when it fails.
    kept = (name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy"))
    command += [f"--setenv={name}" for name in kept]
    command += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C.UTF-8"]
    command += [f"--bind-ro={bind}" for bind in (*_pip_binds(), *binds)] + [f"--bind={bind}" for bind in writable]
    return [*command, "/bin/bash", "-euo", "pipefail", "-c", script]


def inside(tree: Path, script: str, *binds: str, timeout_s: float = 600, writable: Sequence[str] = ()) -> str:
    """Run a shell script as root in a root, with this machine's network and settings of pip, and return its output.

    Args:
        binds: directories of this machine that it may read, as `/here:/there`.
        writable: those that it may also write to.

    Raises:
        BuildFailed: it did not end with 0.
    """
    return run(_inside(tree, script, binds, writable), timeout_s=timeout_s)


def _pip_binds() -> Iterator[str]:
    """Yield the settings of pip on this machine, and the directories and certificates that they name."""
    for file in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"):
        if file.exists():
            there = file if file.is_relative_to("/etc") else Path("/root") / file.relative_to(Path.home())
            yield f"{file}:{there}"
    settings = ""
    with contextlib.suppress(BuildFailed):  # this machine may have no pip
        settings = run(["python3", "-m", "pip", "config", "list"])
    named = re.findall(r"(?<![\w:/])/[^\s'\"]+", settings)
    indexes = re.findall(r"file://(/[^\s'\"]+)", settings)
    paths = {*named, *map(os.path.dirname, indexes)}  # the pages of an index refer to files beside them
    yield from sorted(path for path in paths if os.path.exists(path))


@contextlib.contextmanager
def layered(root: Path, work: Path, *above: Path) -> Iterator[Path]:
    """Yield a root that may be changed, an overlay on one that is not. The changes stay in `work` for the next time.

    Args:
        above: layers of changes on `root`, the topmost first.
    """
    upper, spare, merged = work / "upper", work / "spare", work / "root"
    for directory in (upper, spare, merged):
        directory.mkdir(parents=True, exist_ok=True)
    lower = ":".join(map(str, (*above, root)))
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={spare}", merged])
    try:
        yield merged
    finally:
        run(["umount", merged])


def package(source: Path, arch: str, layers: Sequence[Path], out: Path) -> None:
    """Build the package for a processor from `source` in a root, its layers given, and leave the files in `out`."""
    work, owner = out / "work", out.stat()
    epoch = os.environ["SOURCE_DATE_EPOCH"]
    script = f"SOURCE_DATE_EPOCH={epoch} make -C /source deb-here ARCH={arch} DEB=/build"
    *above, root = layers
    try:
        with layered(root, work, *above) as tree:
            # What it says goes where this program's does: a build takes minutes.
            done = subprocess.run(_inside(tree, script, [f"{source}:/source"], []), stdin=subprocess.DEVNULL)
            if done.returncode:
                raise BuildFailed(f"the build for {arch} in {root} ended with {done.returncode}")
            for file in (*tree.glob("build/*.deb"), *tree.glob("build/*.cdx.json")):
                shutil.copy(file, out)
                os.chown(out / file.name, owner.st_uid, owner.st_gid)
    finally:
        shutil.rmtree(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="the release of Debian, such as trixie")
    parser.add_argument("arch", help="the processor, as Debian names it, such as arm64")
    parser.add_argument("root", help="the root, made if it is missing; or its layers, the topmost first, with colons")
    parser.add_argument("out", type=Path, help="where the package and the list of what is in it belong")
    parser.add_argument("packages", nargs="+", help="what a new root has besides Debian's base")
    asked = parser.parse_args()
    layers = [Path(layer).resolve() for layer in asked.root.split(":")]
    root = layers[-1]
    if not root.exists():
        print(f"making a root of {asked.suite} in {root}", flush=True)
        new = root.with_name(f"{root.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        bootstrap(asked.suite, ["make", *asked.packages], new, foreign=[asked.arch])
        new.rename(root)
    package(Path.cwd(), asked.arch, layers, asked.out.resolve())


if __name__ == "__main__":
    try:
        main()
    except BuildFailed as error:
        sys.exit(f"make: {error}")
