"""`make mutants`: breaks flowpi on purpose, one breakage after the other, and checks that a test finds each.

    python -m tests.mutants [--jobs N] [NAME...]

The breakages are in `mutants.toml`. Each is made in a copy of the work tree, where the tests that belong to it run and
must fail: a breakage that they do not find is one that nobody would notice. The exit code is 0 if all were found.

Tools such as mutmut and cosmic-ray make breakages by rules and run them all: hours for a list of which most mean
nothing. None of them runs a list that was written by hand, in which each breakage is a promise that is not kept.
"""

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct

TREE = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")

LIMIT_S = 300
"""How long the tests of one mutant may run. Most need seconds."""

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".cache", "__pycache__", "build", "dist", "node_modules")

FOUND = "found"
SURVIVED = "SURVIVED"
STALE = "STALE: its old text is not in the file, or not once"
NO_VERDICT = {2: "NO VERDICT: the tests cannot be imported", 4: "NO VERDICT: no such tests", 5: "NO VERDICT: no tests"}


class Mutant(Struct, frozen=True, forbid_unknown_fields=True):
    """A breakage: `new` in place of `old` in a file, and the files or ids of the tests that must fail then."""

    name: str
    file: str
    old: str
    new: str
    tests: list[str]

    def changed(self, tree: Path) -> str | None:
        """Return the broken content of the file, or None if `old` is not in it exactly once."""
        path = tree / self.file
        text = path.read_text() if path.is_file() else ""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None


def read(file: Path = LIST) -> list[Mutant]:
    """Return the mutants of a list."""
    found: dict[str, list[Mutant]] = msgspec.toml.decode(file.read_bytes(), type=dict[str, list[Mutant]])
    return found["mutant"]


def run(tree: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """Run tests in a copy of the work tree. Return the exit code of pytest, None after `LIMIT_S`, and its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--exitfirst", *tests]
    # The copy goes before the tree that is installed, in the programs that tests start too. A mutant may have the size
    # and the second of the one before, by which Python would take its bytecode for its own.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = child.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        output.seek(0)
        return code, output.read()


class Trees:
    """Copies of a work tree, one for each job."""

    def __init__(self, tree: Path, directory: Path, jobs: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        for number in range(jobs):
            copied = shutil.copytree(tree, directory / str(number), symlinks=True, ignore=LEFT_OUT)
            self._free.put(Path(copied))

    @contextlib.contextmanager
    def one(self) -> Iterator[Path]:
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)


def passes(trees: Trees, test: str) -> bool:
    """Whether a test file passes in a whole tree, at the second try at the latest: one that fails finds everything."""
    with trees.one() as tree:
        for _ in range(2):
            code, output = run(tree, [test])
            if code == 0:
                return True
    print(f"{output[-4000:]}\n{test} does not pass in a whole tree", flush=True)
    return False


def verdict(mutant: Mutant, tree: Path) -> str:
    """Break a copy of the work tree, run the tests, and undo it. Return what came of it."""
    broken = mutant.changed(tree)
    if broken is None:
        return STALE
    file = tree / mutant.file
    whole = file.read_text()
    file.write_text(broken)
    try:
        code, _ = run(tree, mutant.tests)
    finally:
        file.write_text(whole)
    if code is None:
        return f"NO VERDICT: the tests took more than {LIMIT_S} s"
    return {0: SURVIVED, 1: FOUND}.get(code) or NO_VERDICT.get(code, f"NO VERDICT: pytest ended with {code}")


def try_one(trees: Trees, passing: set[str], mutant: Mutant) -> bool:
    """Try a mutant, print what came of it, and return whether it was found."""
    began = time.monotonic()
    if passing.issuperset(mutant.tests):
        with trees.one() as tree:
            began = time.monotonic()
            result = verdict(mutant, tree)
    else:
        result = "NO VERDICT: its tests do not pass without it"
    print(f"{mutant.name:36}{time.monotonic() - began:7.1f} s  {result}", flush=True)
    return result == FOUND


def main(arguments: Sequence[str] | None = None, *, tree: Path = TREE, file: Path = LIST) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Check that tests find breakages.")
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these; all if none is named")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (%(default)s)")
    options = parser.parse_args(arguments)
    mutants = read(file)
    if unknown := set(options.names) - {mutant.name for mutant in mutants}:
        parser.error(f"no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if mutant.name in options.names or not options.names]
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="flowpi-mutants-") as directory, ThreadPoolExecutor(options.jobs) as pool:
        trees = Trees(tree, Path(directory), options.jobs)
        good = pool.map(partial(passes, trees), tests)
        passing = {test for test, passed in zip(tests, good, strict=True) if passed}
        found = sum(pool.map(partial(try_one, trees, passing), chosen))
    print(f"{found} of {len(chosen)} found")
    return int(found < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
