"""Killing a process before the n-th call that changes the disk: `fatal.c`, preloaded.

It does what strace does with `inject=...:signal=KILL:when=N`, but counts over all threads and calls, and costs no time.
"""

from pathlib import Path

from tests.rig.compiled import build

SOURCE = Path(__file__).with_name("fatal.c")


def killed_at(number: int, below: Path) -> dict[str, str]:
    """Return the environment of a process that is killed before its n-th call, from 1, on files below a directory."""
    return {"LD_PRELOAD": str(build(SOURCE, "-ldl")), "FATAL_AT": str(number), "FATAL_BELOW": str(below)}
