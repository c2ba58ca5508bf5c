"""The tables of the layouts, from `flowpi/data/layouts.json`, which `layouts/make.py` writes."""

import json
from functools import cache
from importlib import resources
from typing import Any

from flowpi.core.typing.layout import Layout, Levels
from flowpi.core.typing.names import check
from flowpi.core.typing.strokes import Modifiers


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
