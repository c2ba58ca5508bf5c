"""The document on the command for each text holds what the hook does."""

import re
from pathlib import Path

from flowpi.config.loading import load
from flowpi.hook import command, worker
from flowpi.publish import parked
from tests.docs.documents import blocks, code, rows, section, text_of

DOCUMENT = "docs/command.md"


def test_the_configuration_is_one(tmp_path: Path) -> None:
    (example,) = blocks("yaml", text_of(DOCUMENT))
    (tmp_path / "flowpi.yaml").write_text(example)
    run = load(str(tmp_path / "flowpi.yaml")).publish.command.run
    assert run == ("/usr/local/bin/note",)
    allowed = blocks("ini", section(DOCUMENT, "From nothing to a script"))
    assert allowed == [f"[Service]\nExecPaths={run[0]} /usr/bin\n"]


def test_what_the_program_gets_is_named() -> None:
    source = Path(worker.__file__).read_text()
    given = set(re.findall(r'"(FLOWPI_[A-Z]+)"', source)) | set(command.ENVIRONMENT)
    assert {name for row in rows(section(DOCUMENT, "What the program gets")) for name in code(row[0])} == given
    assert f"the first {command.OUTPUT_BYTES >> 10} KiB" in text_of(DOCUMENT)


def test_the_exit_codes_and_limits_are_those_of_the_hook() -> None:
    chapter = section(DOCUMENT, "What its exit code means")
    assert [row[0] for row in rows(chapter)] == ["exit code", "0", str(worker.EXIT_NOT_NOW), rows(chapter)[-1][0]]
    assert "three times in all" in chapter
    assert worker.TRIES == 3
    assert f"up to {worker.LONGEST_WAIT_S / 60:.0f} minutes" in chapter
    assert f"Up to {parked.MOST} texts" in chapter
    assert f"and {command.GRACE_S:.0f} seconds later SIGKILL" in text_of(DOCUMENT)
