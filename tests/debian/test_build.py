"""What `make deb` would do for each kind of processor and each release, from the commands that make prints.

The packages themselves are built by the rig: tests/system/test_processors.py.
"""

import platform
import subprocess
from pathlib import Path

import pytest

from debian.elsewhere import BuildFailed, inside

ROOT = Path(__file__).parents[2]
THIS_SUITE = platform.freedesktop_os_release()["VERSION_CODENAME"]
THIS = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
OTHER = "amd64" if THIS == "arm64" else "arm64"
OTHER_SUITE = "bookworm" if THIS_SUITE == "trixie" else "trixie"
SYSCONFIG = {"amd64": "_sysconfigdata__x86_64-linux-gnu", "arm64": "_sysconfigdata__aarch64-linux-gnu"}
COMPILERS = {"amd64": "gcc-x86-64-linux-gnu", "arm64": "gcc-aarch64-linux-gnu"}


def make(*words: str) -> list[str]:
    """Return the commands, each in one line."""
    command = ["make", "--dry-run", "--no-print-directory", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return (done.stdout + done.stderr).replace("\\\n", "").splitlines()


def containing(word: str, commands: list[str]) -> list[str]:
    return [command for command in commands if word in command]


@pytest.mark.parametrize(
    "words", [[], [f"ARCH={THIS}"], [f"SUITE={THIS_SUITE}"], [f"ARCH={THIS}", f"SUITE={THIS_SUITE}"]]
)
def test_for_this_machine_it_builds_here_and_tries_the_result(words: list[str]) -> None:
    commands = make("deb", *words)
    assert containing("dpkg-buildpackage", commands)
    assert not containing("elsewhere", commands)
    assert not containing("sysconfigdata", commands)
    assert not containing("nocheck", commands)


@pytest.mark.parametrize(
    ("words", "suite", "arch"),
    [
        ([f"ARCH={OTHER}"], THIS_SUITE, OTHER),
        ([f"SUITE={OTHER_SUITE}"], OTHER_SUITE, THIS),
        ([f"ARCH={OTHER}", f"SUITE={OTHER_SUITE}"], OTHER_SUITE, OTHER),
    ],
)
def test_for_another_it_builds_in_a_root_of_its_own(words: list[str], suite: str, arch: str) -> None:
    commands = make("deb", *words)
    (elsewhere,) = containing("debian/elsewhere.py", commands)
    assert f" {suite} {arch} build/root/{suite}-{arch} build/deb/{suite}-{arch} " in " ".join(elsewhere.split())
    assert (COMPILERS[arch] in elsewhere) is (arch != THIS)
    assert not containing("dpkg-buildpackage", commands)


def test_a_root_that_is_there_is_used_for_this_machine_too() -> None:
    (elsewhere,) = containing("debian/elsewhere.py", make("deb", "DEB_ROOT=/above:/root"))
    assert f" {THIS_SUITE} {THIS} /above:/root " in " ".join(elsewhere.split())


def test_only_what_is_for_the_other_processor_is_made_as_if_on_it() -> None:
    """The tools that make it run here, and the trial of the result would not."""
    commands = make("deb-here", f"ARCH={OTHER}")
    wheels, packaged = containing(SYSCONFIG[OTHER], commands)
    assert "debian/requirements.lock" in wheels
    assert "dpkg-buildpackage" in packaged
    assert f"--host-arch={OTHER} " in packaged
    assert "DEB_BUILD_OPTIONS=nocheck DEB_BUILD_PROFILES='cross nocheck'" in packaged
    assert f"libasound2-dev:{OTHER}" in commands[0]


def test_a_processor_without_a_package_is_refused() -> None:
    assert containing("there is no package for ARCH=riscv64, only for amd64 and arm64", make("deb", "ARCH=riscv64"))


def test_a_command_in_a_root_does_not_say_how_this_machine_reaches_its_mirrors(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A command is shown by `ps`, and when it fails."""
    program = tmp_path / "systemd-nspawn"
    program.write_text('#!/bin/sh\necho "$@"; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("PIP_INDEX_URL", "https_proxy"):
        monkeypatch.setenv(name, "http://ada:canary@mirror/")
    with pytest.raises(BuildFailed) as raised:
        inside(tmp_path, "true")
    for name in ("PIP_INDEX_URL", "https_proxy"):
        assert f"--setenv={name} " in str(raised.value)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize(("left", "target"), [("build/image", "clean"), ("build/deb/sid-arm64/work", "deb-elsewhere")])
def test_what_root_left_is_deleted_as_root(tmp_path: Path, left: str, target: str) -> None:
    (tmp_path / left).mkdir(parents=True)
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    command: list[str | Path] = ["make", "--dry-run", "-C", tmp_path, target, "SUITE=sid", "ARCH=arm64"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (deletion,) = containing(" rm -rf ", done.stdout.splitlines())
    assert "env --unset=MAKEFLAGS" in deletion
