"""What the package says of itself, from CHANGELOG.md and the version of flowpi."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from flowpi import __version__
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lines() -> list[str]:
    command = ["debian/make-changelog"]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1795300000"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return done.stdout.splitlines()


def test_the_version_is_flowpis_and_that_of_a_newer_debian_replaces_it(lines: list[str]) -> None:
    release = platform.freedesktop_os_release().get("VERSION_ID", "13")
    assert lines[0] == f"flowpi ({__version__}+deb{release}) stable; urgency=medium"
    newer = ["dpkg", "--compare-versions", f"{__version__}+deb13", "gt", f"{__version__}+deb12"]
    assert subprocess.run(newer, check=False).returncode == 0


def test_it_ends_with_who_and_the_time_that_it_was_given(lines: list[str]) -> None:
    assert lines[-1] == " -- flowpi <flowpi@packages.example>  Sat, 21 Nov 2026 22:26:40 -0000"


def test_each_line_between_belongs_to_an_entry_and_is_short(lines: list[str]) -> None:
    entries = [line for line in lines[1:-1] if line]
    assert entries[0].startswith("  * ")
    assert all(line.startswith(("  * ", "    ")) and len(line) <= 80 for line in entries)


def test_only_the_newest_section_is_in_it(lines: list[str]) -> None:
    sections = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]
    points = sum(line.startswith("- ") for line in sections[0].splitlines())
    others = sum(not part.startswith("- ") for part in sections[0].strip().split("\n\n")[1:])
    assert sum(line.startswith("  * ") for line in lines) == points + others
