"""What a document or the code points to is there."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, without_blocks

MAX_COLUMNS = 120


def named(document: Path) -> str:
    return str(document.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """Return the names by which a link can reach the headings of a document."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_blocks(document.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.is_file(), f"{target}: no such file"
        assert not anchor or anchor in anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_no_line_outside_a_table_is_too_long(document: Path) -> None:
    lines = document.read_text().splitlines()
    assert [line for line in lines if len(line) > MAX_COLUMNS and not line.startswith("|")] == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop().resolve()
        if document in reached:
            continue
        reached.add(document)
        targets = re.findall(r"\]\(([^)#:\s]+\.md)[^)\s]*\)", document.read_text())
        waiting += [document.parent / target for target in targets]
    assert {document for document in DOCUMENTS if "tests" not in document.parts} <= reached


def test_every_document_that_a_file_names_is_there() -> None:
    command = ["git", "-c", f"safe.directory={ROOT}", "grep", "--untracked", "-IohE", r"\bdocs/[a-z/-]+\.[a-z]+"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len(set(found)) > 10
    assert {name for name in found if not (ROOT / name).is_file()} == set()
