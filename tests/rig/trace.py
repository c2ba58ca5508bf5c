"""System calls of a program, recorded by strace, and injected failures of system calls."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from msgspec import Struct

from tests.waiting import PATIENCE_S

CALL = re.compile(r"^(\d+) +(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
FILE = re.compile(r"^(\d+)<([^>]*)>")
RESULT = re.compile(r"= (-?\d+)(?:<([^>]*)>)?[^=]*$")


class Call(Struct, frozen=True):
    """A system call.

    `handle`, `path`: those of the descriptor that is its first argument, or -1 and nothing.
    `opened`: the path that it opened.
    """

    name: str
    arguments: str
    handle: int
    path: str
    result: int
    opened: str


def traced(
    calls: str, module: str, *arguments: object, log: Path, inject: str | None = None, output: list[str] | None = None
) -> list[Call]:
    """Run a Python program until it ends, with its output in `output`.

    Args:
        calls: the names of the calls to record, as for strace.
        inject: the failures to inject, as for strace.
    """
    faults = ["-e", f"inject={calls}:{inject}"] if inject else []
    command = ["strace", "-f", "-y", "-s", "200", "-e", f"trace={calls},close", "-e", "signal=none", *faults]
    command += ["-o", str(log), sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    if output is not None:
        output.append(done.stdout)
    return parse(log.read_text(errors="replace"))


def parse(log: str) -> list[Call]:
    """Return the calls in the order in which they ended."""
    begun: dict[str, str] = {}
    found = []
    for line in log.splitlines():
        if (resumed := RESUMED.match(line)) and resumed[1] in begun:
            line = begun.pop(resumed[1]) + resumed[3]
        if line.endswith("<unfinished ...>"):
            begun[line.split()[0]] = line.removesuffix("<unfinished ...>")
            continue
        if (call := CALL.match(line)) and (result := RESULT.search(call[3])):
            file = FILE.match(call[3])
            handle, path = (int(file[1]), file[2]) if file else (-1, "")
            found.append(Call(call[2], call[3], handle, path, int(result[1]), result[2] or ""))
    return found


def synced_again(calls: list[Call]) -> int:
    """Return the number of syncs on a descriptor after a failed sync."""
    failed: set[int] = set()
    again = 0
    for call in calls:
        if call.name == "close":
            failed.discard(call.handle)
        elif call.name in ("fsync", "fdatasync"):
            again += call.handle in failed
            if call.result < 0:
                failed.add(call.handle)
    return again


def count(calls: list[Call], below: Path) -> Counter[str]:
    """Return how often each call was made on a directory or a path below it."""
    return Counter(call.name for call in calls if call.path == str(below) or call.path.startswith(f"{below}/"))
