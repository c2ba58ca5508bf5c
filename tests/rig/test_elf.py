"""The reader of ELF files, on this machine's own."""

import platform
import sys
from pathlib import Path

from tests.rig import elf

PYTHON = Path(sys.executable).resolve()
MACHINES = {"x86_64": "Advanced Micro Devices X86-64", "aarch64": "AArch64"}


def test_it_finds_them_by_their_content_and_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/program").write_bytes(PYTHON.read_bytes())
    (tmp_path / "link").symlink_to(PYTHON)
    (tmp_path / "library.so").write_text("not one")
    assert list(elf.elf_files(tmp_path)) == [tmp_path / "folder/program"]


def test_it_says_what_a_program_is_for_and_needs() -> None:
    said = elf.read([PYTHON])[PYTHON]
    assert said.machine == MACHINES[platform.machine()]
    assert "libc.so.6" in said.needed
    assert all(version.startswith("GLIBC_") for version in said.versions["libc.so.6"])


def test_a_library_defines_what_others_need_of_it() -> None:
    said = elf.read([PYTHON])[PYTHON]
    (library,) = {Path(f"/usr/lib/{platform.machine()}-linux-gnu/libc.so.6").resolve()}
    assert said.versions["libc.so.6"] <= elf.read([library])[library].defined
    assert "GLIBC_9.99" not in elf.read([library])[library].defined
