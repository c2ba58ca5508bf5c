"""The chapter on installation, word by word, by a person with a clone and sudo, on a Debian with no network.

What needs a network has a stand-in: `make deb` was run by the rig on the same release, apt has what it is asked for,
and pip has a directory of wheels.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.documents import blocks, section
from tests.rig.container import Container
from tests.rig.package import copy_sources, desk, wheels

pytestmark = pytest.mark.nspawn

CHAPTER = section("docs/install.md", "Install on a Pi")
PACKAGE, PIP = (block.splitlines() for block in blocks("sh", CHAPTER)[:2])

IN_WORDS = {
    "arecord -L",
    "sudo apt-get remove flowpi",
    "sudo apt-get purge flowpi",
    "flowpi setup --dry-run",
    "flowpi status",
    "sudo systemctl restart flowpi-asr flowpi",
    "sudo flowpi setup --remove",
    "sudo flowpi setup --root DIR",  # tests/setup/test_command.py has images
}
"""The commands between the blocks, which the tests type too."""


@contextmanager
def person(layers: list[Path], work: Path) -> Iterator[Container]:
    """A booted Debian of a person who has cloned the repository into their home."""
    with Container(layers, work) as container:
        container.sh("useradd --create-home --shell /bin/bash person")
        container.path("/etc/sudoers.d/person").write_text("person ALL=(ALL) NOPASSWD: ALL\n")
        copy_sources(container.path("/home/person/flowpi"))
        container.sh("chown --recursive person: /home/person/flowpi")
        commit = "git -c user.name=person -c user.email=person@example.org commit --quiet --message all"
        types(container, f"git init --quiet && git add --all && {commit}")
        yield container


@pytest.fixture
def clone(usable: None, suite: str, tmp_path: Path) -> Iterator[Container]:
    with person([desk(suite)], tmp_path / "container") as container:
        yield container


@pytest.fixture
def with_wheels(usable: None, tmp_path: Path) -> Iterator[Container]:
    """On Trixie the document refers to the package."""
    with person([wheels("bookworm"), desk("bookworm")], tmp_path / "container") as container:
        yield container


def types(container: Container, line: str, answer: str = "") -> str:
    """What a line says to a person who has just logged in, and who gives this answer when asked."""
    shell = shlex.join(["runuser", "--login", "person", "--command", f"cd flowpi && {line}"])
    return container.sh(f"printf '{answer}' | {shell}")


def running(container: Container) -> list[str]:
    return container.run("systemctl is-active flowpi flowpi-asr; systemctl is-enabled flowpi flowpi-asr").out.split()


def faults(container: Container) -> set[str]:
    """Return the doctor's faults, without those of every container."""
    found = json.loads(container.run("flowpi doctor --json").out)
    return {finding["part"] for finding in found if finding["level"] == "failure"} - {"microphone"}


def test_the_commands_between_the_blocks_are_those_that_are_tried() -> None:
    words = re.sub(r"\s+", " ", re.sub(r"^```.*?^```", "", CHAPTER, flags=re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"`((?:arecord|flowpi|sudo|systemctl) [^`]+)`", words)) == IN_WORDS


def test_the_package_comes_and_goes(clone: Container, deb: Path) -> None:
    for line in PACKAGE:
        if line == "make deb":
            clone.path("/home/person/flowpi/dist").mkdir()
            shutil.copy(deb, clone.path("/home/person/flowpi/dist"))
        else:
            said = types(clone, line)
    assert "state           idle" in said
    assert running(clone) == ["active", "active", "enabled", "enabled"]
    assert faults(clone) == set()
    types(clone, "arecord -L")
    clone.sh("echo 'device_id: mine' > /etc/flowpi/flowpi.yaml; touch /var/lib/flowpi/recorded")
    types(clone, "sudo apt-get remove flowpi", "y\n")
    assert running(clone)[:2] == ["inactive", "inactive"]
    assert clone.sh("cat /etc/flowpi/flowpi.yaml; ls /var/lib/flowpi/recorded").startswith("device_id: mine\n")
    types(clone, "sudo apt-get purge flowpi", "y\n")
    assert clone.run("ls -d /etc/flowpi /var/lib/flowpi /opt/flowpi").out.count("No such file") == 3


def test_with_pip_it_comes_and_goes(with_wheels: Container) -> None:
    for line in PIP:
        types(with_wheels, line)
    assert running(with_wheels) == ["active", "active", "enabled", "enabled"]
    assert faults(with_wheels) == set()
    assert "idle" in types(with_wheels, "sudo flowpi status")
    assert "write " not in types(with_wheels, "flowpi setup --dry-run"), "all of it is there"
    with_wheels.sh("touch /var/lib/flowpi/recorded")
    for line in PIP[PIP.index("sudo rm -rf /opt/flowpi/src") :]:
        types(with_wheels, line)
    types(with_wheels, "sudo systemctl restart flowpi-asr flowpi")
    assert running(with_wheels) == ["active", "active", "enabled", "enabled"]
    types(with_wheels, "sudo flowpi setup --remove")
    assert running(with_wheels)[:2] == ["inactive", "inactive"]
    with_wheels.sh("ls /etc/flowpi/flowpi.yaml /var/lib/flowpi/recorded")
    with_wheels.sh("/opt/flowpi/bin/pip uninstall --quiet --yes moonshine-voice")
    types(with_wheels, PIP[-1])
    assert running(with_wheels)[:2] == ["active", "inactive"]
    assert with_wheels.run("systemctl cat flowpi-asr").code != 0
    types(with_wheels, "sudo /opt/flowpi/bin/flowpi setup --remove --purge")
    assert with_wheels.run("ls -d /etc/flowpi /var/lib/flowpi").out.count("No such file") == 2
    assert with_wheels.run("getent passwd flowpi flowpi-asr flowpi-hook").out == ""
