"""Read the documents: their chapters, tables and programs."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

DOCUMENTS = [file for where in (".", "docs", "tests/vectors/*") for file in sorted(ROOT.glob(f"{where}/*.md"))]


def text_of(document: str) -> str:
    """Return the text of a document, by its path from the root of the repository."""
    return (ROOT / document).read_text()


def section(document: str, title: str) -> str:
    """Return the text from a heading to the next one of its level."""
    heading = rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)"
    found = [match[2] for match in re.finditer(heading, text_of(document), re.MULTILINE | re.DOTALL)]
    assert len(found) == 1, f"{len(found)} sections {title!r} in {document}"
    return found[0]


def blocks(language: str, text: str) -> list[str]:
    """Return the fenced blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    """Return the text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """Return the cells of all rows of all tables, headings included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code(cell: str) -> list[str]:
    """Return what is in backquotes."""
    return re.findall(r"`([^`]+)`", cell)
