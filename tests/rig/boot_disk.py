"""Access to the boot partition of a machine that is off, as in another computer's card reader."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rig.debian import run


def copy_to(work: Path, content: str, name: str) -> None:
    """Save a file on the partition; `work` is the machine's work directory."""
    with _raw(work) as disk:
        (file := disk.with_name("file")).write_text(content)
        run(["mcopy", "-o", "-i", disk, file, f"::{name}"])
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, work / "boot.qcow2"])


def read_all(work: Path) -> bytes:
    """Return every byte of the partition, in files or not."""
    with _raw(work) as disk:
        return disk.read_bytes()


@contextmanager
def _raw(work: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        disk = Path(directory, "boot.raw")
        run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", work / "boot.qcow2", disk])
        yield disk
