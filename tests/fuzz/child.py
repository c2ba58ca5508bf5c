"""The process of one target: `python -m tests.fuzz.child TARGET [argument of libFuzzer...]`."""

import re
import resource
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flowpi.wire", "flowpi.dsp"]):
    from tests.fuzz.targets import TARGETS

MEMORY_MB = 256
"""The memory limit, besides what is used at the start; an input that needs more raises MemoryError, which is a find."""


def limit_memory() -> None:
    size = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert size
    limit = int(size[1]) * 1024 + MEMORY_MB * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    _, name, *arguments = sys.argv
    limit_memory()
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name])
    atheris.Fuzz()
