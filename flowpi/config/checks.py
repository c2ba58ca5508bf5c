"""The check of a configuration, with errors that name its own keys.

`check` turns a plain tree into a `Config`, or raises the error that the user should fix first, and tells the others.
Types and ranges are those of the settings; rules about two keys are in `contradictions.py` and in the settings of the
backends.
"""

import copy
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from flowpi.config.backends import AnyBackendSettings
from flowpi.config.backends.flow import LOCAL_URL
from flowpi.config.boards import BOARDS, with_board
from flowpi.config.contradictions import contradictions
from flowpi.config.hints import key_hint, value_hint
from flowpi.config.phrases import expected, plain
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret, leaves, literals
from flowpi.config.types import Words
from flowpi.config.webhooks import WebhookSettings
from flowpi.core.errors import ConfigError

ANY = "*"
"""Stands for a name that the user chose, in the key of a section."""

KEY_DEPTH: dict[tuple[str, ...], int] = {
    ("backends",): 3,
    ("server",): 2,
    ("publish", "mqtt"): 3,
    ("publish", "webhooks"): 4,
    ("text", "rewrite"): 3,
    ("profiles", ANY, "text", "rewrite"): 5,
    ("wifi",): 2,
}
"""The sections with secrets, whose text no error repeats, and how long the key of a setting in each is at least."""

NAMED: dict[tuple[str, ...], Any] = {
    ("backends",): AnyBackendSettings,
    ("publish", "webhooks"): WebhookSettings,
    ("text", "replacements"): Words,
    ("profiles",): ProfileSettings,
    ("profiles", ANY, "text", "replacements"): Words,
}
"""The sections in which each key is a name that the user chose, with the type of what it names."""

Key = tuple[str, ...]
"""A dotted key, split at its dots; an item of a list is its index as text."""

Place = tuple[str, int | None]
"""The file, or what replaces one, such as `--set`, and the number of the line, 1 for the first."""

MOST_FAULTS = 20
"""How many errors are told at once."""

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket that the kernel takes."""

PATHS = {"path", "directory", "ca_file", "certificate"}
"""The names of settings that are paths, wherever they are."""

KEY_PATHS = {
    ("server", "tls", "key"),
    ("publish", "mqtt", "key"),
    ("server", "model"),
    ("server", "interim_model"),
}
"""The settings that are paths, and whose names elsewhere are not."""

NOT_USED: dict[str, tuple[str, object, set[str]]] = {
    "mqtt": ("url", None, {"url", "username", "password", "discovery"}),
    "command": ("run", None, {"run", "timeout_s"}),
    "keyboard": ("kind", "none", {"kind", "layout"}),
}
"""The sections of `publish` that version 0.1.0 had without using them: the key that asks for something, its value that
asks for nothing, and all keys. Switched off, they may hold any values: that version never looked at them."""


def check(tree: dict[str, Any], place: Callable[[Key], Place]) -> Config:
    """Return the configuration that `tree` describes; a key that is absent has its default.

    Args:
        tree: str, int, float, bool, None, list, and dict with str keys.
        place: returns where a key was set.

    Raises:
        ConfigError: an unknown key, a bad value, or values that contradict each other; `others` are more of the kind.
    """

    def error(key: Key, problem: str, hint: str) -> ConfigError:
        return ConfigError(*place(key), ".".join(_printable(key, tree)), problem, hint)

    local = tree.get("backends", {}).get("local", {}) if isinstance(tree.get("backends", {}), dict) else {}
    if isinstance(local, dict) and local and "kind" not in local:
        # So that `--set backends.local.url=URL` is enough to use another machine.
        local = {"kind": "flow", "url": LOCAL_URL, **local}
        tree = {**tree, "backends": {**tree["backends"], "local": local}}
    board = tree.get("board")
    if isinstance(board, str) and board in BOARDS:
        tree = with_board(tree, board)
    if isinstance(publish := tree.get("publish"), dict):
        off = {name for name, form in NOT_USED.items() if name in publish and _is_off(publish[name], *form)}
        known = {name: value for name, value in publish.items() if name not in off}
        tree = {**tree, "publish": known}
    faults: list[ConfigError] = []
    config: Config | None = None
    whole = tree
    while config is None and len(faults) < MOST_FAULTS:
        try:
            config = msgspec.convert(tree, Config, dec_hook=_decode)
        except msgspec.ValidationError as fault:
            key, problem, hint = _explain(str(fault), tree, whole)
            faults.append(error(key, problem, hint))
            if not _remove(tree := copy.deepcopy(tree), key):
                break
    if config is not None and not faults:  # what was removed would contradict the rest
        wrong = itertools.chain(contradictions(config), _as_typed(config))
        faults = [error(*fault) for fault in itertools.islice(wrong, MOST_FAULTS)]
    if config is None or faults:
        faults[0].others = faults[1:]
        raise faults[0]
    return config


def _remove(tree: Any, key: Key) -> bool:
    """Remove a key, or that above it if it is missing, so that the rest can be checked. Return whether that worked."""
    *above, last = key
    inner = _value_at(tuple(above), tree)
    if isinstance(inner, list) and int(last) < len(inner):
        del inner[int(last)]
        return bool(inner) or _remove(tree, tuple(above))  # an empty list is often wrong too
    if isinstance(inner, dict) and last in inner:
        del inner[last]
        return True
    return bool(above) and _remove(tree, tuple(above))


def is_secretive(key: Key) -> bool:
    """Return whether a key is in a section with secrets."""
    return any(_is_in(key, section) for section in KEY_DEPTH)


def _is_in(key: Key, section: Key) -> bool:
    return len(key) >= len(section) and all(name in (ANY, own) for name, own in zip(section, key, strict=False))


def _is_off(section: object, switch: str, off: object, known: set[str]) -> bool:
    """Return whether a section asks for nothing, whatever it says of how."""
    if section is None:
        return True
    return isinstance(section, dict) and section.keys() <= known and section.get(switch, off) == off


def _decode(kind: type, value: object) -> object:
    assert kind is Secret
    return Secret.parse(value)


def _as_typed(config: Config) -> Iterator[tuple[Key, str, str]]:
    """Yield key, problem and hint of every text that cannot have been meant as it stands."""
    for setting, secret in literals(config):
        try:
            secret.resolve()
        except ConfigError as error:
            yield setting, f"cannot be used ({error.message.partition(': ')[2]})", error.hint
    listening: list[tuple[Key, str]] = [
        (("server", "listen", str(index)), address.removeprefix("unix:"))
        for index, address in enumerate(config.server.listen)
        if address.startswith("unix:")
    ]
    for setting, path in (*_paths(config), *listening):
        if re.match(r"~|.*\$[\w{]", path):
            yield setting, f"is {path!r}, and neither ~ nor $ is replaced here", "write the whole path, from / on"
        if "\0" in path:
            yield setting, f"is {path!r}, and no path has a null character in it", "write another path"
        try:
            os.fsencode(path)
        except UnicodeEncodeError as error:
            problem = f"is {path!r}, which the locale of this user cannot write ({error.encoding})"
            yield setting, problem, "set LC_ALL=C.UTF-8, or write another path"
    for setting, path in ((("publish", "socket", "path"), config.publish.socket.path or ""), *listening):
        if (size := len(path.encode(sys.getfilesystemencoding(), "replace"))) > SOCKET_PATH_BYTES:
            problem = f"is {size} bytes long, and the path of a socket has {SOCKET_PATH_BYTES} at most"
            yield setting, problem, "choose a shorter one"
    if config.audio.device != config.audio.device.strip():
        yield ("audio", "device"), f"is {config.audio.device!r}, with a space at one end", "remove the space"


def _paths(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield every path in a configuration with its key."""
    for key, value in leaves(config):
        match value:
            case Secret(kind="file", name=name):
                yield key, name
            case str() if key[-1] in PATHS or key in KEY_PATHS:
                yield key, value


def _explain(fault: str, tree: dict[str, Any], whole: dict[str, Any]) -> tuple[Key, str, str]:
    """Return key, problem and hint for a ValidationError of `msgspec`, which ends in "at `$.audio.rate`".

    `whole`: the tree with what was removed from it before.
    """
    said, path = _split(fault)
    for section, named in NAMED.items():
        within, at = path[: len(section)], path[len(section) : len(section) + 1]
        if at != ("...",) or not _is_in(within, section):  # msgspec does not name the key of a dict: find it
            continue
        for name, value in _value_at(within, tree).items():
            try:
                msgspec.convert(value, named, dec_hook=_decode)
            except msgspec.ValidationError as inner:
                said, rest = _split(str(inner))
                path = (*within, name, *rest)
                break
    if found := re.match(r"Object contains unknown field `(.*)`", said, re.DOTALL):
        key = (*path, found[1])
        siblings = _fields(_type_at(path, tree))
        return key, "is not a known key", key_hint(key, _value_at(key, tree), siblings, whole)
    if found := re.match(r"Object missing required field `(.*)`", said):
        key = (*path, found[1])
        return key, "is missing", f"it must be {expected(_type_at(key, tree))}"
    kind, value = _type_at(path, tree), _value_at(path, tree)
    shown = _shown(value, kind)
    hint = value_hint(value, kind)
    meant = isinstance(plain(kind), inspect.LiteralType) and hint
    if isinstance(value, str) and value and is_secretive(path) and not {"listen", "commands"} & {*path} and not meant:
        shown = "text"
    return path, f"must be {expected(kind)}, not {shown}", hint


def _printable(key: Key, tree: dict[str, Any]) -> Key:
    """Return a key that may be shown: a secret may have become the name of one, as in `{client_key"fl-1234"}`."""
    if (
        not is_secretive(key)
        or len(key) < next(depth for section, depth in KEY_DEPTH.items() if _is_in(key, section))
        or key[:2] == ("server", "partners")
    ):
        return key
    siblings = _fields(_type_at(key[:-1], tree))
    if not siblings or key[-1] in siblings:
        return key
    like_a_key = re.fullmatch(r"[a-z_]{1,20}", key[-1]) and _value_at(key, tree) is not None
    return key if like_a_key else (*key[:-1], "***")


def _split(fault: str) -> tuple[str, Key]:
    said, _, path = fault.rpartition(" - at `$")
    if not said:
        return fault, ()
    return said, tuple(re.findall(r"[^.\[\]`]+|\.\.\.", path))


def _value_at(key: Key, tree: Any) -> Any:
    for name in key:
        tree = tree[int(name)] if isinstance(tree, list) else tree.get(name)
    return tree


def _type_at(key: Key, tree: Any) -> inspect.Type:
    """Return the type of a key in `schema.py`. `tree` determines the kind of a backend."""
    kind: inspect.Type = inspect.type_info(Config)
    for name in key:
        tree = tree.get(name) if isinstance(tree, dict) else None
        match plain(kind):
            case inspect.StructType(fields=fields):
                kind = next(field.type for field in fields if field.encode_name == name)
            case inspect.DictType(value_type=value_type):
                kind = value_type
                if isinstance(value_type, inspect.UnionType) and isinstance(tree, dict) and "kind" in tree:
                    tagged = [each for each in value_type.types if getattr(each, "tag", None) == tree["kind"]]
                    kind = tagged[0] if tagged else kind
            case inspect.VarTupleType(item_type=item_type):
                kind = item_type
            case inspect.TupleType(item_types=item_types):
                kind = item_types[0]
            case inspect.UnionType(types=types) if name == "kind":
                return inspect.LiteralType(tuple(each.tag for each in types if isinstance(each, inspect.StructType)))
    return kind


def _fields(kind: inspect.Type) -> list[str]:
    struct = plain(kind)
    return [field.encode_name for field in struct.fields] if isinstance(struct, inspect.StructType) else []


def _shown(value: object, kind: inspect.Type) -> str:
    match value:
        case None:
            return "empty"
        case str() if expected(plain(kind)) == "a mapping":
            return "text"  # it may be a secret that was meant for a key in the mapping
        case dict():
            return "a mapping"
        case list():
            return f"a list of {len(value)}"
        case _ if isinstance(plain(kind), inspect.CustomType):
            return "this"  # a secret of the wrong kind is still a secret
        case bool():
            return str(value).lower()
        case str() if not value:
            return "empty text"
    return repr(value) if len(repr(value)) <= 40 else repr(value)[:36] + "..."
