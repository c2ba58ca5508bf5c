"""Killing a process before the n-th call that changes the disk: `fatal.c`, preloaded.

What strace does with `inject=...:signal=KILL:when=N`, but counted over all threads and calls together, and at no cost.
"""

from pathlib import Path

from tests.rig.preload import build

SOURCE = Path(__file__).with_name("fatal.c")


def killed_at(number: int, below: Path) -> dict[str, str]:
    """The environment of a process that is to die before its n-th call, from 1 on, on files below a directory."""
    return {"LD_PRELOAD": str(build(SOURCE)), "FATAL_AT": str(number), "FATAL_BELOW": str(below)}
