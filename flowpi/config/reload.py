"""What a reload does with each key of the configuration: the keys marked `AT_START` in the types wait for a start."""

from collections.abc import Iterator
from typing import Any, TypeVar, get_type_hints

from msgspec import Struct, structs

from flowpi.config.schema import AT_START, Config

S = TypeVar("S", bound=Struct)


def applied(new: Config, running: Config) -> tuple[Config, list[str]]:
    """Return what a reload applies of a new configuration, and the changed keys that wait for the next start.

    Args:
        running: the configuration in force.
    """
    waiting: list[str] = []
    return _applied(new, running, "", waiting), waiting


def _applied(new: S, running: S, prefix: str, waiting: list[str]) -> S:
    kept: dict[str, Any] = {}
    for name, hint in _hints(type(new)):
        old, value = getattr(running, name), getattr(new, name)
        if old == value:
            continue
        if AT_START in getattr(hint, "__metadata__", ()):
            kept[name] = old
            waiting.append(prefix + name)
        elif isinstance(value, Struct) and type(value) is type(old):
            kept[name] = _applied(value, old, f"{prefix}{name}.", waiting)
    return structs.replace(new, **kept)


def _hints(kind: type[Struct]) -> Iterator[tuple[str, Any]]:
    """Return the name and the annotated type of each field."""
    hints = get_type_hints(kind, include_extras=True)
    return ((name, hints[name]) for name in kind.__struct_fields__)
