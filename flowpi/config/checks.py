"""The check of a configuration, with errors that name its own keys.

`check` turns a plain tree into a `Config`, or raises the error that the user should fix first, and tells the others.
Types and ranges are those of the settings; rules about two keys are in `_contradictions` and in the settings of the
backends.
"""

import copy
import difflib
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import inspect

from flowpi.config.addresses import is_loopback, one_of
from flowpi.config.backends import AnyBackendSettings
from flowpi.config.backends.flow import LOCAL_URL
from flowpi.config.boards import BOARDS, with_board
from flowpi.config.phrases import expected, plain
from flowpi.config.schema import Config
from flowpi.config.secret import Secret, leaves, literals
from flowpi.config.webhooks import WebhookSettings
from flowpi.core.errors import ConfigError
from flowpi.core.nearest import nearest

SECRETIVE = (("backends",), ("server",), ("publish", "mqtt"), ("publish", "webhooks"))
"""The sections with secrets. Text in a wrong place in them may be one, so an error does not repeat it."""

KEY_DEPTH: dict[tuple[str, ...], int] = {
    ("backends",): 3,
    ("server",): 2,
    ("publish", "mqtt"): 3,
    ("publish", "webhooks"): 4,
}
"""How long the key of a setting in each of these sections is at least."""

NAMED: dict[tuple[str, ...], Any] = {("backends",): AnyBackendSettings, ("publish", "webhooks"): WebhookSettings}
"""The sections in which each key is a name that the user chose, with the type of what it names."""

SPI_PINS = (10, 11)
"""The pins for data and clock of SPI 0, in BCM numbers, which a row of LEDs uses."""

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

KEY_PATHS = {("server", "tls", "key"), ("publish", "mqtt", "key")}
"""The settings named `key` that are paths."""

NOT_YET: dict[str, tuple[str, object, set[str]]] = {
    "keyboard": ("kind", "none", {"kind", "layout"}),
}
"""The sections of `publish` that version 0.1.0 had without using them: the key that asks for something, its value that
asks for nothing, and all keys. A file of that version with such a section switched off still loads."""

NOT_USED: dict[str, tuple[str, object, set[str]]] = {
    "mqtt": ("url", None, {"url", "username", "password", "discovery"}),
    "command": ("run", None, {"run", "timeout_s"}),
}
"""Such sections that are used since. Switched off, they may hold any values: that version never looked at them."""


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
        for name in NOT_YET.keys() & publish:
            if not _is_off(publish[name], *NOT_YET[name]):
                raise error(("publish", name), "is not in this version of flowpi", "take it out")
        off = {name for name, form in NOT_USED.items() if name in publish and _is_off(publish[name], *form)}
        known = {name: value for name, value in publish.items() if name not in NOT_YET and name not in off}
        tree = {**tree, "publish": known}
    faults: list[ConfigError] = []
    config: Config | None = None
    while config is None and len(faults) < MOST_FAULTS:
        try:
            config = msgspec.convert(tree, Config, dec_hook=_decode)
        except msgspec.ValidationError as fault:
            key, problem, hint = _explain(str(fault), tree)
            faults.append(error(key, problem, hint))
            if not _remove(tree := copy.deepcopy(tree), key):
                break
    if config is not None and not faults:  # what was removed would contradict the rest
        wrong = itertools.chain(_contradictions(config), _as_typed(config))
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
    return any(key[: len(section)] == section for section in SECRETIVE)


def _is_off(section: object, switch: str, off: object, known: set[str]) -> bool:
    """Return whether a section asks for nothing, whatever it says of how."""
    if section is None:
        return True
    return isinstance(section, dict) and section.keys() <= known and section.get(switch, off) == off


def _decode(kind: type, value: object) -> object:
    assert kind is Secret
    return Secret.parse(value)


def _contradictions(config: Config) -> Iterator[tuple[Key, str, str]]:
    """Yield key, problem and hint of every two settings that exclude each other."""
    audio, button, led = config.audio, config.button, config.led
    if audio.source == "wav" and audio.path is None:
        yield ("audio", "path"), "is missing", "audio.source wav plays a file: say which"
    if isinstance(audio.channel, int) and audio.channel >= audio.channels:
        hint = f"channels count from 0: set it below {audio.channels}, or raise audio.channels"
        yield ("audio", "channel"), f"{audio.channel} does not exist with audio.channels {audio.channels}", hint
    reads = {"period_ms": audio.period_ms * 2, "read_ms": audio.read_ms}
    if audio.preroll_ms:
        reads["idle_read_ms"] = audio.idle_read_ms
    for name, ms in reads.items():
        if ms * 2 > audio.buffer_ms:
            least = f"set audio.buffer_ms to at least {ms * 2}"
            yield ("audio", name), f"is too long for audio.buffer_ms {audio.buffer_ms}: sound would be lost", least
    if button.kind == "evdev":
        if button.device is None:
            yield ("button", "device"), "is missing", "button.kind evdev needs one of /dev/input/by-id/*"
        if button.key is None:
            yield ("button", "key"), "is missing", "button.kind evdev needs a key: `evtest DEVICE` shows its name"
    if led.kind == "rgb" and led.pins is None:
        yield ("led", "pins"), "is missing", "led.kind rgb needs three pins: [red, green, blue]"
    spi_pins = SPI_PINS if led.spi[0] == 0 else ()
    lights = {"gpio": (led.pin,), "rgb": led.pins or (), "apa102": spi_pins}.get(led.kind, ())
    if len(set(lights)) < len(lights):
        yield ("led", "pins"), "names a pin twice", "each colour needs its own"
    if button.kind == "gpio" and button.pin in lights:
        name = {"gpio": "pin", "rgb": "pins"}.get(led.kind, "spi")
        yield ("led", name), f"and button.pin are both {button.pin}", "wire them to two pins"
    if button.long_s and button.long_s * 1000 <= button.hold_ms:
        hint = f"more than button.hold_ms {button.hold_ms}, or 0 for none"
        yield ("button", "long_s"), f"{button.long_s:g} is shorter than a press to talk", hint
    for index, name in enumerate(config.dictation.backends):
        if name not in config.backends:
            key = ("dictation", "backends", str(index))
            yield key, f"is {name!r}, which is not in backends", nearest(name, config.backends)
    for section, named in (("backends",), config.backends), (("publish", "webhooks"), config.publish.webhooks):
        for name, settings in named.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
                yield (*section, name), "is not a good name", "use letters, digits, - and _"
            for setting, problem, hint in settings.contradictions():
                yield (*section, name, setting), problem, hint
    for setting, problem, hint in config.publish.mqtt.contradictions():
        yield ("publish", "mqtt", setting), problem, hint
    keys = config.server.api_keys or config.server.partners
    for index, address in enumerate(config.server.listen):
        if not address.startswith("unix:") and int(address.rpartition(":")[2]) > 65535:
            yield ("server", "listen", str(index)), f"is {address!r}, but ports end at 65535", "choose a lower port"
        elif not keys and not address.startswith("unix:") and not is_loopback(address.rpartition(":")[0]):
            hint = "set server.api_keys or server.partners, or listen on 127.0.0.1"
            yield ("server", "listen", str(index)), f"{address} is open to other machines, and no keys are set", hint
    tls = config.server.tls
    if (tls.certificate is None) != (tls.key is None):
        missing, there = ("certificate", "key") if tls.certificate is None else ("key", "certificate")
        yield ("server", "tls", missing), "is missing", f"server.tls.{there} needs it: name a PEM file"
    for where, problem, hint in config.publish.command.contradictions():
        yield ("publish", "command", *where), problem, hint


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


def _explain(fault: str, tree: dict[str, Any]) -> tuple[Key, str, str]:
    """Return key, problem and hint for a ValidationError of `msgspec`, which ends in "at `$.audio.rate`"."""
    said, path = _split(fault)
    for section, named in NAMED.items():
        if path[: len(section) + 1] != (*section, "..."):  # msgspec does not name the key of a dict: find it
            continue
        for name, value in _value_at(section, tree).items():
            try:
                msgspec.convert(value, named, dec_hook=_decode)
            except msgspec.ValidationError as inner:
                said, rest = _split(str(inner))
                path = (*section, name, *rest)
                break
    if found := re.match(r"Object contains unknown field `(.*)`", said, re.DOTALL):
        key = (*path, found[1])
        # {device: plughw:CARD=Device,DEV=0}, {device: hw:1,0}
        if _value_at(key, tree) is None and ("=" in found[1] or found[1].isdigit()):
            return key, "is not a known key", "the value before it has a comma: put it in quotes"
        return key, "is not a known key", _nearest_key(key, _fields(_type_at(path, tree)))
    if found := re.match(r"Object missing required field `(.*)`", said):
        key = (*path, found[1])
        return key, "is missing", f"it must be {expected(_type_at(key, tree))}"
    kind, value = _type_at(path, tree), _value_at(path, tree)
    shown = _shown(value, kind)
    hint = _value_hint(value, kind)
    meant = isinstance(plain(kind), inspect.LiteralType) and hint
    if isinstance(value, str) and value and is_secretive(path) and not {"listen", "commands"} & {*path} and not meant:
        shown = "text"
    return path, f"must be {expected(kind)}, not {shown}", hint


def _printable(key: Key, tree: dict[str, Any]) -> Key:
    """Return a key that may be shown: a secret may have become the name of one, as in `{client_key"fl-1234"}`."""
    if (
        not is_secretive(key)
        or len(key) < next(depth for section, depth in KEY_DEPTH.items() if key[: len(section)] == section)
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


def _all_keys(kind: inspect.Type, key: Key = ()) -> Iterator[Key]:
    struct = plain(kind)
    if isinstance(struct, inspect.StructType):
        for field in struct.fields:
            yield (*key, field.encode_name)
            yield from _all_keys(field.type, (*key, field.encode_name))


def _nearest_key(key: Key, siblings: list[str]) -> str:
    """Return a hint: a sibling with a similar name, or else a key of the same name elsewhere, or else all siblings."""
    near = difflib.get_close_matches(key[-1], siblings, n=1)
    if near:
        return f"did you mean {'.'.join((*key[:-1], near[0]))}?"
    moved = [".".join(each) for each in _all_keys(inspect.type_info(Config)) if each[-1] == key[-1]]
    if moved:
        return f"did you mean {one_of(moved)}?"
    return f"known here: {', '.join(siblings)}"


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


def _value_hint(value: object, kind: inspect.Type) -> str:
    wanted = plain(kind)
    if isinstance(wanted, inspect.LiteralType) and value is False and "none" in wanted.values:
        return "did you mean none?"  # `off` and `no` are false in YAML
    if isinstance(wanted, inspect.LiteralType) and isinstance(value, str):
        near = difflib.get_close_matches(value, [str(each) for each in wanted.values], n=1)
        return f"did you mean {near[0]}?" if near else ""
    if isinstance(wanted, inspect.IntType | inspect.FloatType) and isinstance(value, str):
        number = value.strip().lstrip("0") or value.strip()
        return f"write {number}" if re.fullmatch(r"[1-9][0-9]*(\.[0-9]+)?", number) else ""
    if isinstance(wanted, inspect.StrType | inspect.CustomType) and isinstance(value, bool | int | float):
        return "put it in quotes, or YAML takes it for something else"
    if isinstance(wanted, inspect.VarTupleType) and isinstance(value, str):
        return "write it as a list: [...]"
    if isinstance(wanted, inspect.StructType) and value is None:
        return "remove the line, or set a key in it"
    return ""
