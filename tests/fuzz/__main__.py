"""Coverage-guided fuzzing of the roles of the protocols. It prints how many inputs ran, and how much code they reached.

    python -m tests.fuzz [--runs N] [--seed S] [--keep DIR] [TARGET...]

The exit code is 1 if an input made a role raise what it must not; its file is printed. Every target has a process of
its own, because the fuzzer rewrites what it imports, and exits by `_exit`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

REPOSITORY = Path(__file__).parents[2]
CORPUS = Path(__file__).with_name("corpus")
NAMES = ("flow-client", "flow-server", "suki-client", "suki-server")

MAX_INPUT_BYTES = 4096
ONE_INPUT_S = 10
"""The time limit of one input. Most need 50 us; one that needs seconds is as bad as one that raises."""


class Outcome(Struct, frozen=True):
    """The result of a target.

    `coverage`: how many edges of the roles' bytecode were reached.
    `find`: what the fuzzer printed, if it found something.
    """

    executions: int
    per_s: int
    coverage: int
    find: str | None


def fuzz(name: str, runs: int, seed: int, keep: Path) -> Outcome:
    """Run one target. `keep`: a directory for inputs that reach new code, and for failing ones."""
    keep.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-runs={runs}", f"-seed={seed}", f"-max_len={MAX_INPUT_BYTES}", f"-timeout={ONE_INPUT_S}",
        "-rss_limit_mb=0",  # it would count the parent's memory if that is more: `child.py` has a limit of its own
        f"-artifact_prefix={keep.parent}/{name}-", "-print_final_stats=1",
        f"-dict={CORPUS.parent / 'words.dict'}", str(keep), str(CORPUS / name),
    ]  # fmt: skip
    # At a low priority: tests of sound in real time may run at the same time.
    command = ["nice", "-n", "19", sys.executable, "-m", "tests.fuzz.child", name, *arguments]
    child = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    said = child.stdout + child.stderr
    return Outcome(
        _number(r"number_of_executed_units: (\d+)", said),
        _number(r"average_exec_per_sec: +(\d+)", said),
        _number(r"cov: (\d+)", said),
        None if child.returncode == 0 else _find(said),
    )


def _find(said: str) -> str:
    """Return the output without the progress of the search."""
    return "\n".join(line for line in said.splitlines() if not line.startswith("#"))[-8000:]


def _number(pattern: str, said: str) -> int:
    found = re.findall(pattern, said)
    return int(found[-1]) if found else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the roles of the dialects.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all if none is named")
    parser.add_argument("--runs", type=int, default=250_000, help="inputs for each target (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="0: another one each time")
    parser.add_argument("--keep", type=Path, help="go on from the inputs in this directory, and add to them")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets) - set(NAMES):
        parser.error(f"no target {', '.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    with tempfile.TemporaryDirectory(prefix="flowpi-fuzz-") as temporary, ThreadPoolExecutor(2) as pool:
        directory = (options.keep or Path(temporary)).absolute()
        names = options.targets or NAMES
        outcomes = pool.map(lambda name: fuzz(name, options.runs, options.seed, directory / name), names)
        total, found = 0, False
        print(f"{'target':14}{'executions':>12}{'a second':>10}{'coverage':>10}")
        for name, outcome in zip(names, outcomes, strict=True):
            print(f"{name:14}{outcome.executions:12}{outcome.per_s:10}{outcome.coverage:10}", flush=True)
            total += outcome.executions
            if outcome.find is not None:
                found = True
                print(outcome.find)
        print(f"{'all':14}{total:12}")
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
