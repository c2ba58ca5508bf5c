"""Reading the configuration: finding its file, parsing the YAML, applying `--set`, and showing the result.

YAML stays in the form of nodes until the line of each key is noted, so that an error can name it. PyYAML is imported
only if there is something to read: a daemon with built-in defaults starts without it.
"""

import contextlib
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowpi.config.addresses import is_loopback
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.core.errors import ConfigError, FlowpiError, NoInputError, NoPermissionError, UsageError

if TYPE_CHECKING:
    import yaml

    from flowpi.config.checks import Key, Place

DEFAULT_PATH = "/etc/flowpi/flowpi.yaml"
MAX_BYTES = 1024 * 1024
MAX_NODES = 10_000
"""The largest tree that is accepted: aliases can turn a file of ten lines into one of any size."""
MAX_DEPTH = 20


def load(path: str | None = None, overrides: Sequence[str] = ()) -> Config:
    """Load the configuration.

    Args:
        path: a file. None for `$FLOWPI_CONFIG`, or else `/etc/flowpi/flowpi.yaml` if it exists, or else the defaults.
        overrides: settings as `KEY=VALUE`, with a dotted key and a YAML value. The last one wins.

    Raises:
        ConfigError: the configuration is invalid; it names file, line and key.
        NoInputError: the file does not exist.
        NoPermissionError: it may not be read.
        UsageError: an override is not `KEY=VALUE`.
    """
    found = config_path(path)
    if found is None and not overrides:
        return Config()
    tree: dict[str, Any] = {}
    places: dict[Key, Place] = {}
    if found is not None:
        tree = read_tree(_bytes(found), found, places)
    for override in overrides:
        _override(tree, places, override)

    return _checked(tree, places, found or "--set")


def parse(content: bytes, file: str) -> Config:
    """Return the configuration in the content of a file. Raises ConfigError, which names `file`."""
    places: dict[Key, Place] = {}
    return _checked(read_tree(content, file, places), places, file)


def _checked(tree: dict[str, Any], places: "dict[Key, Place]", otherwise: str) -> Config:
    from flowpi.config.checks import check

    def place(key: "Key") -> "Place":
        while key and key not in places:
            key = key[:-1]
        return places.get(key, (otherwise, None))

    return check(tree, place)


def load_for_light(path: str | None = None, overrides: Sequence[str] = ()) -> tuple[Config, FlowpiError | None]:
    """Load the configuration for `flowpi light`, which must work with an invalid one.

    The LED is how a machine without a screen shows that its configuration is invalid.

    Returns:
        The configuration and None, or what is wrong with the file and a configuration with as much of it as says where
        the LED is, or else the defaults.

    Raises:
        FlowpiError: as `load`, but only if there are overrides.
    """
    try:
        return load(path, overrides), None
    except FlowpiError as error:
        if overrides:  # a user at a terminal reads the error
            raise
        wrong = error
    try:
        found = config_path(path)
        tree = _Reader(found, {}).read(_bytes(found)) if found is not None else {}
    except FlowpiError:
        return Config(), wrong
    from flowpi.config.checks import check

    for sections in (("board", "led"), ("led",), ("board",)):
        # Without a button: it is not used here, and its default pin could be that of this LED.
        part = {name: tree[name] for name in sections if name in tree} | {"button": {"kind": "none"}}
        with contextlib.suppress(ConfigError):
            return check(part, lambda key: (found or "", None)), wrong
    return Config(), wrong


def read_tree(content: bytes, file: str, places: "dict[Key, Place] | None" = None) -> dict[str, Any]:
    """Return the content of a YAML file as a plain tree, not checked.

    Args:
        places: receives where each key was set.

    Raises:
        ConfigError: it is no YAML, or too large.
    """
    tree: dict[str, Any] = _Reader(file, {} if places is None else places).read(content)
    return tree


def config_path(path: str | None = None) -> str | None:
    """Return the file that `load(path)` reads, or None for built-in defaults."""
    if path is not None:
        return path
    if named := os.environ.get("FLOWPI_CONFIG"):
        return named
    try:
        os.stat(DEFAULT_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it exists but cannot be reached: reading it reports that, and defaults would only be a surprise
    return DEFAULT_PATH


def warnings(config: Config, path: str | None) -> Iterator[str]:
    """Yield what works but should not stay so, as `what is wrong: what to do`.

    Args:
        path: the file of `config`, as returned by `config_path`.
    """
    if path is not None:
        mode = os.stat(path).st_mode
        if mode & stat.S_IWOTH:
            yield f"{path} can be changed by every user of this machine: chmod o-w {path}"
        if mode & stat.S_IROTH:
            for key, _ in literals(config):
                place = "use {credential: NAME} or {file: PATH}"
                yield f"{path}: {'.'.join(key)} can be read by every user of this machine: chmod 640 {path}, or {place}"
    for name, backend in config.backends.items():
        yield from backend.warnings(f"backends.{name}")
    if (config.server.api_keys or config.server.partners) and config.server.tls.certificate is None:
        for address in config.server.listen:
            if not address.startswith("unix:") and not is_loopback(address.rpartition(":")[0]):
                yield f"server.listen {address} takes keys over the network in plain text: set server.tls"


def secrets(part: object, key: "Key" = ()) -> "Iterator[tuple[Key, Secret]]":
    """Yield every secret in a configuration with its key."""
    match part:
        case Secret():
            yield key, part
        case msgspec.Struct():
            for name in part.__struct_fields__:
                yield from secrets(getattr(part, name), (*key, name))
        case dict():
            for name, value in part.items():
                yield from secrets(value, (*key, name))
        case tuple():
            for index, value in enumerate(part):
                yield from secrets(value, (*key, str(index)))


def literals(config: Config) -> "Iterator[tuple[Key, Secret]]":
    """Return the secrets that are written in the configuration itself, with their keys."""
    return ((key, secret) for key, secret in secrets(config) if secret.kind == "literal")


def masked(config: Config) -> dict[str, Any]:
    """Return the whole tree in plain types, with `***` for each literal secret."""
    tree: dict[str, Any] = msgspec.to_builtins(config, enc_hook=lambda secret: secret.masked())
    return tree


def to_yaml(tree: dict[str, Any]) -> str:
    """Return a tree as YAML, with its keys in their order and each list on one line."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def flow_list(dumper: yaml.SafeDumper, value: Sequence[object]) -> yaml.Node:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)

    Dumper.add_representer(list, flow_list)
    Dumper.add_representer(tuple, flow_list)
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    places = [{"type": "object", "properties": {name: {"type": "string"}}, "required": [name]} for name in PLACES]
    schema = msgspec.json.schema(Config, schema_hook=lambda _: {"anyOf": [{"type": "string"}, *places]})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "flowpi.yaml", **schema}


PLACES = ("credential", "file", "env")


def _bytes(path: str) -> bytes:
    where = "" if path != os.environ.get("FLOWPI_CONFIG") else " (from $FLOWPI_CONFIG)"
    try:
        if Path(path).is_fifo():  # opening it could wait for ever
            raise ConfigError(path, None, "", "is a pipe", "give a file")
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "check the path, or copy config/flowpi.yaml there"
        raise NoInputError(f"there is no configuration file {path}{where}", hint) from None
    except PermissionError:
        raise NoPermissionError(f"may not read {path}{where}", f"check `ls -l {path}` and your groups") from None
    except IsADirectoryError:
        raise NoInputError(f"{path}{where} is a directory", "name the file in it") from None
    except (OSError, ValueError) as error:
        raise NoInputError(f"cannot read {path!r}{where} ({error})", "check the path") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(path, None, "", "is larger than 1 MiB", "this is hardly a configuration of flowpi")
    return content


class _Reader:
    """Reads one YAML document into a plain tree, and notes the place of each key."""

    def __init__(self, file: str, places: "dict[Key, Place]", line: int | None = 1) -> None:
        self._file = file
        self._places = places
        self._line = line  # the number of the first line, or None if the document has no lines, as in `--set`
        self._nodes = 0

    def read(self, content: bytes, key: "Key" = ()) -> Any:
        """Return the tree of a document.

        An empty document is an empty mapping, or None if `key` is not the top.

        Raises:
            ConfigError: it is no YAML, or too large, or at the top no mapping.
        """
        import yaml

        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self._at(content.count(b"\n", 0, error.start))
            raise self._error(line, key, "is not UTF-8 text", "save it as UTF-8") from None
        kind: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        loader = kind(text)
        try:
            self._refuse_depth(yaml.parse(text, Loader=kind), key)
            node = loader.get_single_node()
            tree = None if node is None else self._tree(loader, node, key, 0)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(filter(None, (error.context, error.problem)))
            hint = YAML_HINT
            if mark and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1]):
                hint = "write spaces in the place of tabs"
            raise self._error(self._at(mark.line) if mark else None, key, f"is not YAML ({problem})", hint) from None
        except yaml.reader.ReaderError as error:
            line = self._at(text.count("\n", 0, error.position))
            raise self._error(
                line, key, "has a control character", "remove it, or write it in quotes as \\xNN"
            ) from None
        finally:
            loader.dispose()
        if not key and tree is None:
            return {}
        if not key and not isinstance(tree, dict):
            raise self._error(self._places[key][1], key, "is not a mapping of keys to values", YAML_HINT)
        return tree

    def _refuse_depth(self, events: "Iterator[yaml.Event]", key: "Key") -> None:
        """Raise ConfigError if a document is nested too deep, before it is composed.

        Composing recurses in C without a limit, so that a file of 20 KB can crash it. Reading events does not.
        """
        import yaml

        depth = 0
        for event in events:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = self._at(event.start_mark.line) if event.start_mark else None
                raise self._error(line, key, "is nested too deep", "a { or [ too many?")

    def _tree(self, loader: "yaml.SafeLoader", node: "yaml.Node", key: "Key", depth: int) -> Any:
        import yaml

        line = self._at(node.start_mark.line)
        self._places.setdefault(key, (self._file, line))
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise self._error(line, key[:1], "has too many values", "aliases (*name) multiply: write values out")
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self._tree(loader, item, (*key, str(index)), depth + 1) for index, item in items]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, key, depth)
        return self._scalar(loader, node, key, line)

    def _mapping(self, loader: "yaml.SafeLoader", node: "yaml.MappingNode", key: "Key", depth: int) -> dict[str, Any]:
        import yaml

        tree: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = self._at(name_node.start_mark.line)
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(line, key, "has a key that is not text", "a { or [ too many?")
            name = name_node.value
            inner = (*key, name)
            if name in tree:
                first = self._places[inner][1]
                hint = "remove one" if first is None else f"it stands in line {first} too: remove one"
                raise self._error(line, inner, "is set twice", hint)
            self._places[inner] = (self._file, line)
            tree[name] = self._tree(loader, value_node, inner, depth + 1)
        return tree

    def _scalar(self, loader: "yaml.SafeLoader", node: "yaml.Node", key: "Key", line: int | None) -> Any:
        kind = node.tag.rpartition(":")[2]
        if kind not in ("null", "bool", "int", "float"):
            return str(node.value)  # dates, and values with tags that flowpi does not know, are text
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError):
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(line, key, "is not a number that flowpi can use", "write a plain number, or quote text")
        return value

    def _at(self, line: int) -> int | None:
        return None if self._line is None else line + self._line

    def _error(self, line: int | None, key: "Key", problem: str, hint: str) -> ConfigError:
        return ConfigError(self._file, line, ".".join(key), problem, hint)


YAML_HINT = "a key, a colon, a space, a value; keys of one section under each other"


def _override(tree: dict[str, Any], places: "dict[Key, Place]", override: str) -> None:
    dotted, mark, value = override.partition("=")
    key = tuple(dotted.strip().split("."))
    if not mark or not all(key):
        shown = dotted.strip() or "--set"  # never the value: it may be a secret
        raise UsageError(f"{shown} is not KEY=VALUE", "as in --set audio.device=plughw:CARD=Device")
    for known in [known for known in places if known[: len(key)] == key]:
        del places[known]
    for depth in range(1, len(key)):
        places.setdefault(key[:depth], ("--set", None))
        inner = tree.get(key[depth - 1])
        if not isinstance(inner, dict):
            inner = tree[key[depth - 1]] = {}
        tree = inner
    tree[key[-1]] = _Reader("--set", places, line=None).read(value.encode("utf-8", "surrogateescape"), key)
