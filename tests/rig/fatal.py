"""Killing a process before the n-th call that changes the disk: `fatal.c`, compiled once and preloaded.

What strace does with `inject=...:signal=KILL:when=N`, but counted over all threads and calls together, and at no cost.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.rig.microphone import CACHE

SOURCE = Path(__file__).with_name("fatal.c")
REMEDY = "apt-get install -y gcc libc6-dev"


def build(cache: Path = CACHE) -> Path:
    """The compiled library, from the cache if the C text has not changed. RuntimeError says what to install."""
    library = cache / f"fatal-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"a kill at a system call needs a C compiler: {REMEDY}")
    cache.mkdir(parents=True, exist_ok=True)
    half = library.with_suffix(f".{os.getpid()}")  # two test runs may build at once
    command = [compiler, "-Wall", "-Wextra", "-shared", "-fPIC", "-O2", "-o", str(half), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{SOURCE.name} does not compile; if a header is missing: {REMEDY}\n{done.stderr}")
    half.replace(library)
    return library


def killed_at(number: int, below: Path) -> dict[str, str]:
    """The environment of a process that is to die before its n-th call, from 1 on, on files below a directory."""
    return {"LD_PRELOAD": str(build()), "FATAL_AT": str(number), "FATAL_BELOW": str(below)}
