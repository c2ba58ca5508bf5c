"""Reading the configuration: finding its file, parsing the YAML, applying `--set`, and showing the result.

PyYAML is imported only if there is something to read: a daemon with built-in defaults starts without it.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from flowpi.config.addresses import is_loopback
from flowpi.config.schema import Config
from flowpi.config.secret import literals
from flowpi.core.errors import ConfigError, FlowpiError, NoInputError, NoPermissionError, UsageError

if TYPE_CHECKING:
    from flowpi.config.checks import Key, Place

DEFAULT_PATH = "/etc/flowpi/flowpi.yaml"
MAX_BYTES = 1024 * 1024


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

    return checked(tree, places, found or "--set")


def parse(content: bytes, file: str) -> Config:
    """Return the configuration in the content of a file. Raises ConfigError, which names `file`."""
    places: dict[Key, Place] = {}
    return checked(read_tree(content, file, places), places, file)


def checked(tree: dict[str, Any], places: "dict[Key, Place]", otherwise: str) -> Config:
    """Return the configuration in a tree from `read_tree`. Raises ConfigError; `otherwise` is named without a place."""
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
        tree = read_tree(_bytes(found), found) if found is not None else {}
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
    from flowpi.config.yaml_reader import YamlReader

    tree: dict[str, Any] = YamlReader(file, {} if places is None else places).read(content)
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


def warnings(config: Config, path: str | None, overrides: Sequence[str] = ()) -> Iterator[str]:
    """Yield what works but should not stay so, as `what is wrong: what to do`.

    Args:
        path: the file of `config`, as returned by `config_path`.
        overrides: those of `load`.
    """
    typed = [tuple(override.partition("=")[0].strip().split(".")) for override in overrides]
    for key, _ in literals(config):
        if any(key[: len(one)] == one for one in typed):
            hint = "use {file: PATH} or {env: NAME}"
            yield f"every user of this machine can read {'.'.join(key)} in the list of processes: {hint}"
    secret_urls = [
        ("publish", "webhooks", name, "url")
        for name, webhook in config.publish.webhooks.items()
        if webhook.url_is_secret
    ]
    for key in secret_urls:
        if any(key[: len(one)] == one for one in typed):
            hint = "write it into a file for --config"
            yield f"every user of this machine can read {'.'.join(key)} in the list of processes: {hint}"
    if path is not None:
        mode = os.stat(path).st_mode
        if mode & stat.S_IWOTH:
            yield f"{path} can be changed by every user of this machine: chmod o-w {path}"
        if mode & stat.S_IROTH:
            for key, _ in literals(config):
                place = "use {credential: NAME} or {file: PATH}"
                yield f"{path}: {'.'.join(key)} can be read by every user of this machine: chmod 640 {path}, or {place}"
            for key in secret_urls:
                yield f"{path}: {'.'.join(key)} can be read by every user of this machine: chmod 640 {path}"
    for name, backend in config.backends.items():
        yield from backend.warnings(f"backends.{name}")
    yield from config.text.warnings("text")
    for name, profile in config.profiles.items():
        yield from profile.text.warnings(f"profiles.{name}.text") if profile.text else ()
    yield from config.publish.mqtt.warnings()
    yield from config.publish.command.warnings()
    for name, webhook in config.publish.webhooks.items():
        yield from webhook.warnings(f"publish.webhooks.{name}")
    yield from config.server.warnings()
    if (config.server.api_keys or config.server.partners) and config.server.tls.certificate is None:
        for address in config.server.listen:
            if not address.startswith("unix:") and not is_loopback(address.rpartition(":")[0]):
                yield f"server.listen {address} takes keys over the network in plain text: set server.tls"


def masked(config: Config) -> dict[str, Any]:
    """Return the whole tree in plain types, with `***` for each literal secret and for what is secret in a URL."""
    tree = plain(config)
    for name, webhook in config.publish.webhooks.items():
        if webhook.url_is_secret:
            tree["publish"]["webhooks"][name]["url"] = webhook.masked_url
    return tree


def plain(config: Config) -> dict[str, Any]:
    """Return the whole tree in plain types, with `***` for each literal secret, and with each URL as it is."""
    tree: dict[str, Any] = msgspec.to_builtins(config, enc_hook=lambda secret: secret.masked())
    return tree


def to_yaml(tree: dict[str, Any]) -> str:
    """Return a tree as YAML that can be read again, with its keys in their order and each list on one line."""
    import yaml

    from flowpi.config.yaml_reader import needs_quotes

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def flow_list(dumper: yaml.SafeDumper, value: Sequence[object]) -> yaml.Node:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)

    def quoted(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if needs_quotes(value) else None)

    Dumper.add_representer(str, quoted)
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


def _override(tree: dict[str, Any], places: "dict[Key, Place]", override: str) -> None:
    from flowpi.config.yaml_reader import YamlReader

    dotted, mark, value = override.partition("=")
    key = tuple(dotted.strip().split("."))
    lone = len(key) == 1 and value and not value.strip("=")  # a secret in base64 ends in = too
    if not mark or not all(key) or len(dotted.split()) > 1 or lone:
        # Never the value, which may be a secret: not even behind a colon in the place of the =.
        shown = dotted.strip().partition(":")[0].partition(" ")[0] or "--set"
        raise UsageError(f"{shown} is not KEY=VALUE", "as in --set audio.device=plughw:CARD=Device")
    for known in [known for known in places if known[: len(key)] == key]:
        del places[known]
    for depth in range(1, len(key)):
        places.setdefault(key[:depth], ("--set", None))
        inner = tree.get(key[depth - 1])
        if not isinstance(inner, dict):
            inner = tree[key[depth - 1]] = {}
        tree = inner
    tree[key[-1]] = YamlReader("--set", places, line=None).read(value.encode("utf-8", "surrogateescape"), key)
