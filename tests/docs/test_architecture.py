"""The document on the architecture draws the import contract."""

import tomllib

from tests.docs.documents import ROOT, blocks, code, rows, section

DOCUMENT = "docs/architecture.md"


def layers() -> list[str]:
    """Return the layers of the contract from the top down, without the name of the package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers"]
    return [layer.replace("flowpi.", "") for layer in contract["layers"]]


def test_the_rooms_are_drawn_in_the_order_of_the_contract() -> None:
    (drawing,) = blocks("text", section(DOCUMENT, "The rooms"))
    assert [line.strip() for line in drawing.splitlines()] == layers()


def test_every_room_is_explained_once() -> None:
    explained = [code(row[0])[0] for row in rows(section(DOCUMENT, "The rooms")) if code(row[0])]
    package = ROOT / "flowpi"
    folders = {init.parent.name for init in package.glob("*/__init__.py")}
    assert sorted(explained) == sorted(folders | {"client"})


def test_what_is_below_the_line_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "forbidden"]
    names = [f"`{module.removeprefix('flowpi.')}`" for module in contract["source_modules"]]
    assert f"{', '.join(names[:-1])} and {names[-1]} import no" in section(DOCUMENT, "Invariants")
