"""The machine's kernel: Debian's own from the backports of Trixie, which has a simulated GPIO chip, and an SPI bus."""

from pathlib import Path

from tests.rig import debian, store

SCRIPTS = Path(__file__).parent / "kernel"


def kernel() -> Path:
    """Return a directory with `vmlinuz`, `initrd` and `lib/modules`. It takes a minute, mostly to download it."""
    root = debian.root("trixie")
    key = store.key(root.name, *sorted(SCRIPTS.iterdir()))
    return store.kept("kernel", key, lambda place: _build(root, place))


def _build(root: Path, place: Path) -> None:
    work, out = place / "work", place / "out"
    out.mkdir()
    with debian.layered(root, work) as tree:
        debian.inside(tree, "/rig/build.sh", f"{SCRIPTS}:/rig", writable=[f"{out}:/out"])
    store.remove(work)
    for path in out.iterdir():
        path.rename(place / path.name)
    out.rmdir()
