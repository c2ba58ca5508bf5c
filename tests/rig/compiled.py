"""Small C libraries that a program under test loads. They are compiled at their first use."""

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "rig"
FLAGS = ["-Wall", "-Wextra", "-shared", "-fPIC", "-O2"]


def build(source: Path, *flags: str, packages: str = "", cache: Path = CACHE) -> Path:
    """Return the library, from the cache if the C source has not changed.

    Args:
        flags: what the compiler needs besides `FLAGS`, such as libraries.
        packages: the Debian packages that it needs besides a compiler.

    Raises:
        RuntimeError: it cannot be compiled; names the packages to install.
    """
    library = cache / f"{source.stem}-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    remedy = f"apt-get install -y gcc libc6-dev {packages}".strip()
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError(f"{source.name} needs a C compiler: {remedy}")
    cache.mkdir(parents=True, exist_ok=True)
    half = library.with_suffix(f".{os.getpid()}-{threading.get_ident()}")  # two test runs may build at once
    done = subprocess.run([compiler, *FLAGS, "-o", str(half), str(source), *flags], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{source.name} does not compile; if a header is missing: {remedy}\n{done.stderr}")
    half.replace(library)
    return library
