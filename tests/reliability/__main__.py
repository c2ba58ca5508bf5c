"""`python -m tests.reliability`: every promise in its long form; what was measured becomes the table of its document.

Options go to pytest. The table in docs/reliability.md is written only if all tests passed.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.conftest import MEASURED
from tests.reliability.promises import PROMISES

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of measured -->\n"


def number(promise: str) -> int:
    return int(promise[1:])


def table(found: list[dict[str, Any]], began: datetime.datetime) -> str:
    """`found`: what the tests left, see the fixture `measured`."""
    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )
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
    began = datetime.datetime.now(datetime.UTC)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pytest", "--long", "-m", "promise", *sys.argv[1:]]
        code = subprocess.run(command, env={**os.environ, MEASURED: directory}).returncode
        found = [json.loads(file.read_text()) for file in Path(directory).iterdir()]
    if code == 0:
        text = DOCUMENT.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        DOCUMENT.write_text(before + BEGIN + table(found, began) + END + after)
    return code


if __name__ == "__main__":
    sys.exit(main())
