"""Small C libraries that are preloaded into a program under test (LD_PRELOAD). They are compiled at their first use."""

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

from tests.rig.microphone import CACHE

REMEDY = "apt-get install -y gcc libc6-dev"


def build(source: Path, cache: Path = CACHE) -> Path:
    """Return the library, compiled unless the cache has it. RuntimeError names the packages to install."""
    library = cache / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"{source.name} needs a C compiler: {REMEDY}")
    cache.mkdir(parents=True, exist_ok=True)
    half = library.with_suffix(f".{os.getpid()}-{threading.get_ident()}")  # two test runs may build at once
    command = [compiler, "-Wall", "-Wextra", "-shared", "-fPIC", "-O2", "-o", str(half), str(source), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} does not compile; if a header is missing: {REMEDY}\n{done.stderr}")
    half.replace(library)
    return library
