"""The tables of the layouts, from `flowpi/data/layouts.json`, which `layouts/make.py` writes."""

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from flowpi.core.errors import LayoutError
from flowpi.core.typing.layout import Layout, Levels
from flowpi.core.typing.names import check
from flowpi.core.typing.strokes import Modifiers

SYSTEM = Path("/etc/default/keyboard")
"""Where Debian keeps the layout of the machine."""


def layout(name: str, variant: str = "") -> Layout:
    """Return a layout. Reads a file.

    Raises:
        LayoutError: there is no table of it.
    """
    check(name, variant)
    tables = _tables()
    table = tables["layouts"][f"{name}({variant})" if variant else name]
    return Layout(
        name,
        variant,
        keys=tables["keys"],
        plain=_levels(table["plain"]),
        caps=_levels({**table["plain"], **table["caps"]}),
        compositions=tables["compositions"],
    )


def system_layout(file: Path = SYSTEM) -> tuple[str, str]:
    """Return the layout and the variant of this machine; of several the first, which a desktop begins with.

    Raises:
        LayoutError: the machine does not say.
    """
    try:
        text = file.read_text(errors="replace")
    except OSError:
        text = ""
    name, variant = (_first(key, text) for key in ("XKBLAYOUT", "XKBVARIANT"))
    if not name:
        raise LayoutError("", "", f"of this machine is not in {file}", "set publish.keyboard.layout")
    return name, variant


def _first(key: str, text: str) -> str:
    """Return the first of the values of a shell variable, which commas separate."""
    found = re.findall(rf"^\s*{key}=[\"']?([^\"'#\s]*)", text, re.MULTILINE)
    return found[-1].partition(",")[0] if found else ""


@cache
def _tables() -> Any:
    return json.loads((resources.files("flowpi") / "data" / "layouts.json").read_bytes())


def _levels(rows: dict[str, str]) -> Levels:
    return {_modifiers(held): row.split() for held, row in rows.items()}


def _modifiers(names: str) -> Modifiers:
    modifiers = Modifiers.NONE
    for name in names.split("+"):
        modifiers |= Modifiers[name.upper()]
    return modifiers
