"""`python -m tests.reliability`: tests every promise in its long form, and writes the table of docs/reliability.md.

Options go to pytest. The measurements stay in .cache/reliability, so that some tests may be repeated alone (`-k`).
Without options all tests run, and earlier measurements are deleted. The table is written only if all tests that ran
have passed.
"""

import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import MEASURED
from tests.reliability.promises import PROMISES

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "reliability.md"
KEPT = ROOT / ".cache" / "reliability"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->\n"


def number(promise: str) -> int:
    return int(promise[1:])


def table(found: list[dict[str, Any]], began: datetime.datetime) -> str:
    """Return the table of the measurements that the fixture `measured` has stored."""
    kernel, _, _ = platform.release().partition("-")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Linux {kernel}, Python {platform.python_version()}"
    rows = [
        f"Measured by `make test-long` on {began:%Y-%m-%d}, {machine}.\n",
        "| | promise | what was done, and what came of it | test |",
        "|---|---|---|---|",
    ]
    for promise in sorted(PROMISES, key=number):
        told = PROMISES[promise]
        for one in sorted((one for one in found if promise in one["promises"]), key=lambda one: str(one["test"])):
            facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in one["facts"].items())
            rows.append(f"| {promise} | {told} | {facts} | `{one['test'].removeprefix('tests/')}` |")
            told = ""
    return "\n".join(rows) + "\n"


def main() -> int:
    options = sys.argv[1:]
    if not any(option.startswith(("-k", "tests/")) for option in options):
        shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    began = datetime.datetime.now(datetime.UTC)
    command = [sys.executable, "-m", "pytest", "--long", "-m", "promise", *options]
    code = subprocess.run(command, env={**os.environ, MEASURED: str(KEPT)}).returncode
    if code == 0:
        found = [json.loads(file.read_text()) for file in KEPT.glob("*.json")]
        text = DOCUMENT.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCUMENT.write_text(before + BEGIN + table(found, began) + END + after)
    return code


if __name__ == "__main__":
    sys.exit(main())
