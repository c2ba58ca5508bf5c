"""What to do about a key or a value of a configuration that cannot be used."""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import inspect

from flowpi.config.addresses import one_of
from flowpi.config.phrases import plain
from flowpi.config.schema import Config

YES, NO = ("yes", "true", "on", "y", "1"), ("no", "false", "off", "n", "0")
"""What people write in quotes for true and false."""


def key_hint(key: tuple[str, ...], value: Any, siblings: list[str], top: Mapping[str, Any]) -> str:
    """Return a hint about a key that is not known.

    Args:
        value: what it was set to.
        siblings: the keys that are known in its place.
        top: the whole configuration.
    """
    if key == ("wifi",):
        return "take it out: Wi-Fi is set in flowpi.yaml on the boot partition only (docs/first-boot.md)"
    # {device: plughw:CARD=Device,DEV=0}, {device: hw:1,0}
    if value is None and ("=" in key[-1] or key[-1].isdigit()):
        return "the value before it has a comma: put it in quotes"
    known = list(_all_keys(inspect.type_info(Config)))
    if "." in key[-1] and (*key[:-1], *key[-1].split(".")) in known:
        lines = ", ".join(f"`{one}:`" for one in key[-1].split("."))
        return f"write {lines} in lines of their own, each indented more"
    moved = [each for each in known if each[-1] == key[-1]]
    if len(key) == 1 and (empty := [each[0] for each in moved if len(each) == 2 and top.get(each[0], "") is None]):
        return f"indent it, if it is a key of {one_of(empty)}"
    # A section of this name elsewhere is likelier than a similar key.
    is_section = len(moved) == 1 and any(each[:-1] == moved[0] for each in known)
    if (near := difflib.get_close_matches(key[-1], siblings, n=1)) and not is_section:
        return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
    if moved:
        return f"did you mean {one_of(['.'.join(each) for each in moved])}?"
    return f"known here: {', '.join(siblings)}"


def value_hint(value: object, kind: inspect.Type) -> str:
    """Return a hint about a value that must be of another kind, or nothing. It never repeats more than a number."""
    match plain(kind):
        case inspect.LiteralType(values=values) if value is False and "none" in values:
            return "did you mean none?"  # `off` and `no` are false in YAML
        case inspect.LiteralType(values=values) if isinstance(value, str):
            near = difflib.get_close_matches(value, [str(each) for each in values], n=1)
            return f"did you mean {near[0]}?" if near else ""
        case inspect.BoolType() if isinstance(value, str | int):
            word = str(value).strip().lower()
            return "write true" if word in YES else "write false" if word in NO else ""
        case inspect.IntType() | inspect.FloatType() if isinstance(value, str):
            return _number_hint(value.strip())
        case inspect.StrType() | inspect.CustomType() if isinstance(value, bool | int | float):
            return "put it in quotes, or YAML takes it for something else"
        case inspect.VarTupleType() if isinstance(value, str):
            return "write it as a list: [...]"
        case inspect.StructType() if value is None:
            return "remove the line, or set a key in it"
        case inspect.StructType() if isinstance(value, str) and re.match(r"[a-z_]+:\S", value):
            return "put a space behind the colon"
        case inspect.StructType() if isinstance(value, str):
            return "write its keys, each with a colon and a space behind it"
    return ""


def _number_hint(said: str) -> str:
    number = said.lstrip("0") or said
    if re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)?", number):
        return f"write {number}"
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", said):
        return "write a point in the place of the comma"
    if re.fullmatch(r"[-+]?[0-9.]+ ?[A-Za-z%]+", said):
        return "write the number alone, without a unit"
    return ""


def _all_keys(kind: inspect.Type, key: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    struct = plain(kind)
    if isinstance(struct, inspect.StructType):
        for field in struct.fields:
            yield (*key, field.encode_name)
            yield from _all_keys(field.type, (*key, field.encode_name))
