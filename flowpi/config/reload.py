"""Decides what a reload applies of a new configuration. The type of each key says so: see `types.setting`."""

from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct, structs

from flowpi.config.schema import Config

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
    hints = get_type_hints(type(new), include_extras=True)
    for name in new.__struct_fields__:
        old, value = getattr(running, name), getattr(new, name)
        if old == value:
            continue
        if _counts_from_start(hints[name]):
            kept[name] = old
            waiting.append(prefix + name)
        elif isinstance(value, Struct) and type(value) is type(old):
            kept[name] = _applied(value, old, f"{prefix}{name}.", waiting)
    return structs.replace(new, **kept)


def _counts_from_start(hint: Any) -> bool:
    metas = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return any(isinstance(meta, Meta) and (meta.extra or {}).get("applied") == "start" for meta in metas)
