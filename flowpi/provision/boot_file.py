"""Reads the configuration file on the boot partition, checks it, and makes its text without secrets. Writes nothing.

The user wrote the file on another computer, and may have removed the card too early: a truncated file is often valid
YAML. So the file must end with a line of three dots, YAML's own end mark; a file without it is not used.
"""

import codecs
import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from flowpi.config.loading import checked, parse, plain, read_tree, to_yaml
from flowpi.config.schema import Config
from flowpi.config.secret import MAX_SECRET_BYTES, Secret, literals
from flowpi.core.errors import ConfigError
from flowpi.host.folders import FOLDER, open_regular
from flowpi.provision import wifi

if TYPE_CHECKING:
    import yaml

    from flowpi.config.checks import Key, Place

MAX_BYTES = 256 * 1024
END = "..."
RECOGNISER = "server"
"""The section of flowpi-asr.service; the other sections are the daemon's."""


class Literal(Struct, frozen=True):
    """A secret that is written out in the file.

    Attributes:
        key: the configuration key that holds the secret.
        value: the secret.
        start, end: the position of the value in `BootFile.text`.
    """

    key: "tuple[str, ...]"
    value: str
    start: int
    end: int


class BootFile(Struct, frozen=True):
    """A checked configuration file of the boot partition.

    Attributes:
        name: the file name, for errors.
        text: the text up to the end mark; lines end with LF, without a byte order mark.
        config: the configuration.
        literals: the secrets that are written out in the file.
        lines: the line number of each key.
        network: the Wi-Fi, which is no part of `config`.
        network_password: its password as it is written out in the file, empty if none is.
        network_span: the lines of the network in `text`, as positions; None if it shares a line with something else.
    """

    name: str
    text: str
    config: Config
    literals: tuple[Literal, ...]
    lines: "dict[tuple[str, ...], int]"
    network: wifi.Wifi = None
    network_password: str = ""
    network_span: tuple[int, int] | None = None

    def placed(self, error: ConfigError) -> ConfigError:
        """Return the same error with the line of its key."""
        dotted, _, _ = error.key.partition(" ")
        key = tuple(dotted.split("."))
        while key and key not in self.lines:
            key = key[:-1]
        problem = error.message.removeprefix(f"{error.file}: ").removeprefix(error.key).strip()
        return ConfigError(self.name, self.lines.get(key), error.key, problem, error.hint)


def read(path: Path) -> bytes:
    """Return the content of the file; links are not followed.

    Raises:
        ConfigError: `path` is no regular file, or is too large.
        OSError: the file cannot be read.
    """
    directory = os.open(path.parent, FOLDER)
    try:
        handle = open_regular(path.name, directory)
    except OSError as error:
        if error.errno == errno.EINVAL:
            hint = "put a plain text file in its place"
            raise ConfigError(path.name, None, "", "is a folder, or something else that is no file", hint) from None
        raise
    finally:
        os.close(directory)
    with open(handle, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(path.name, None, "", "is larger than 256 KiB", "this is hardly a configuration of flowpi")
    return content


def understand(content: bytes, name: str) -> BootFile:
    """Parse and check the content like `flowpi config check`, and find the secrets in it.

    Raises:
        ConfigError: the content is truncated, not text, or no valid configuration.
    """
    text = _text(content, name)
    places: dict[Key, Place] = {}
    tree = read_tree(text.encode(), name, places)
    lines = {key: line for key, (_, line) in places.items() if key and line is not None}
    root = _composed(text)
    nodes = dict(_scalars(root))
    has_wifi = wifi.SECTION in tree
    network = wifi.understand(nodes, lines, name) if has_wifi else None
    config = checked({key: value for key, value in tree.items() if key != wifi.SECTION}, places, name)
    found: list[Literal] = []
    for key, secret in literals(config):
        node = nodes[key]
        line = node.start_mark.line + 1
        try:
            value = secret.resolve()
        except ConfigError as error:
            problem = error.message.partition(": ")[2]
            raise ConfigError(name, line, ".".join(key), f"cannot be used ({problem})", error.hint) from None
        if len(value.encode()) > MAX_SECRET_BYTES:
            raise ConfigError(name, line, ".".join(key), "is too long for a secret", "write only the secret there")
        for other in found:
            if other.start == node.start_mark.index and (other.key[0] == RECOGNISER) != (key[0] == RECOGNISER):
                hint = "the two are kept apart: write the secret out in both places"
                raise ConfigError(name, line, ".".join(key), f"is the same (by *) as {'.'.join(other.key)}", hint)
        found.append(Literal(key, value, node.start_mark.index, node.end_mark.index))
    password = nodes[wifi.SECTION, "password"].value if isinstance(network, wifi.Network) else ""
    return BootFile(
        name=name,
        text=text,
        config=config,
        literals=tuple(found),
        lines=lines,
        network=network,
        network_password="" if password in (wifi.NONE, wifi.KEPT) else password.rstrip("\n"),
        network_span=_lines_of(root, wifi.SECTION, text) if has_wifi else None,
    )


def without_secrets(boot: BootFile, names: "Mapping[Key, str]") -> str:
    """Return the text without the network, and with a reference to a credential in the place of each secret.

    The text keeps the user's order and comments, unless that would also keep a secret, as in a comment.

    Args:
        boot: the file.
        names: the name of the credential for each of `boot.literals`.
    """
    edits = {literal.start: (literal.end, f"{{credential: {names[literal.key]}}}") for literal in boot.literals}
    text = boot.text
    if boot.network_span is not None:
        edits[boot.network_span[0]] = boot.network_span[1], ""
    for start, (end, instead) in sorted(edits.items(), reverse=True):
        lines = "\n" if instead and text[start:end].endswith("\n") else ""
        text = f"{text[:start]}{instead}{lines}{text[end:]}"
    hidden = [literal.value for literal in boot.literals] + [boot.network_password] * bool(boot.network_password)
    if _says(text, boot, names) and not any(secret in text for secret in hidden):
        return text
    tree = read_tree(boot.text.encode(), boot.name)
    tree.pop(wifi.SECTION, None)
    for literal in boot.literals:
        _put(tree, literal.key, {"credential": names[literal.key]})
    return to_yaml(tree) if tree else ""


def _says(text: str, boot: BootFile, names: "Mapping[Key, str]") -> bool:
    """Whether `text` is the same configuration as `boot`, with credentials in place of secrets."""
    credentials = {id(secret): names[key] for key, secret in literals(boot.config)}

    def hook(secret: Secret) -> object:
        return {"credential": credentials[id(secret)]} if id(secret) in credentials else secret.masked()

    try:
        return bool(plain(parse(text.encode(), boot.name)) == msgspec.to_builtins(boot.config, enc_hook=hook))
    except ConfigError:
        return False


def _put(tree: Any, key: "Key", value: object) -> None:
    for name in key[:-1]:
        tree = tree[int(name)] if isinstance(tree, list) else tree[name]
    if isinstance(tree, list):
        tree[int(key[-1])] = value
    else:
        tree[key[-1]] = value


def _text(content: bytes, name: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise ConfigError(name, None, "", "is UTF-16 text", "save it again, with the encoding UTF-8")
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        hint = "copy it again, and eject the card before you pull it out"
        raise ConfigError(name, line, "", "has holes: it was not written to the end", hint)
    if content.startswith(b"{\\rtf"):
        hint = "save it as plain text (TextEdit: Format, Make Plain Text)"
        raise ConfigError(name, None, "", "is a document with fonts (RTF), not plain text", hint)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(name, line, "", "is not UTF-8 text", "save it again, with the encoding UTF-8") from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    ends = [number for number, line in enumerate(lines) if line.rstrip() == END]
    if not ends:
        last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
        if like_it := re.fullmatch(r"[.\u2024\u2025\u2026\s]+", lines[last - 1].strip()):
            problem = f"is {like_it[0]!r}, which is not the end mark"
            hint = f"write three full stops side by side ({END}), and nothing else in that line"
            raise ConfigError(name, last, "", problem, f"{hint}; some editors make one character of them")
        hint = f"if nothing is missing, write three dots ({END}) in a line of their own at the very end"
        raise ConfigError(name, last, "", "is the last line, and no end mark follows: the file may be cut off", hint)
    for below, words in enumerate(lines[ends[0] + 1 :], ends[0] + 2):
        if words.strip():
            hint = f"move the line of three dots ({END}) to the very end"
            raise ConfigError(name, below, "", "is below the end mark", hint)
    return "".join(f"{line}\n" for line in lines[: ends[0]])


def _composed(text: str) -> "yaml.Node | None":
    """Return the nodes of a text that `read_tree` has accepted."""
    import yaml

    return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _scalars(node: "yaml.Node | None", key: "Key" = ()) -> "Iterator[tuple[Key, yaml.ScalarNode]]":
    """Yield every scalar node with its key."""
    import yaml

    match node:
        case yaml.MappingNode():
            for name, value in node.value:
                yield from _scalars(value, (*key, name.value))
        case yaml.SequenceNode():
            for index, value in enumerate(node.value):
                yield from _scalars(value, (*key, str(index)))
        case yaml.ScalarNode():
            yield key, node


def _lines_of(root: "yaml.Node | None", section: str, text: str) -> tuple[int, int] | None:
    """Return where the lines of a section begin and end, or None if it is not in lines of its own."""
    import yaml

    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    name, value = next((name, value) for name, value in root.value if name.value == section)
    start, end = name.start_mark.index, _end(value)
    if end <= start:  # an alias of something above
        return None
    if text[end - 1] != "\n":
        end = text.index("\n", end) + 1
    return start, end


def _end(node: "yaml.Node") -> int:
    """Return the end of a node; that of a block, unlike its mark, is before the comments and lines that follow."""
    import yaml

    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)
