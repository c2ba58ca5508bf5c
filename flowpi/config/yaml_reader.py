"""Reads one YAML document as people write it: what YAML 1.1 would silently take for something else is an error.

The document stays in the form of nodes until the line of each key is noted, so that an error can name it.
"""

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from flowpi.config.checks import is_secretive
from flowpi.config.secret import CURLY_QUOTES
from flowpi.core.errors import ConfigError

if TYPE_CHECKING:
    from flowpi.config.checks import Key, Place

MAX_NODES = 10_000
"""The largest tree that is accepted: aliases can turn a file of ten lines into one of any size."""
MAX_DEPTH = 20

PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9]+")
"""How numbers are written. YAML 1.1 takes more for one: 017 for 15, and 4:26:40 for 16000."""

INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")
NO_SPACE = re.compile(rf"[\w.-]+:[ \t]*{INVISIBLE.pattern}")
"""The beginning of a plain value that was meant to be a key and a value."""


def needs_quotes(text: str) -> bool:
    """Whether the reader refuses a text in which a typist may not have meant what it shows, unless it is in quotes."""
    return not text.isascii() and (INVISIBLE.search(text) is not None or not set(text).isdisjoint(CURLY_QUOTES))


HINTS = {
    "scanning a quoted scalar found unexpected end": "close the quote that begins here",
    "parsing a quoted scalar": "write it in single quotes, in which a backslash is a letter",
    "flow mapping": "close the {, and put a comma between its keys",
    "flow sequence": "close the [, and put a comma between its values",
    "cannot start any token": "put the value in quotes",
    "mapping values are not allowed": "put a value with a colon in quotes; keys of one section under each other",
}
"""What to do about a problem, by what libyaml says of it."""

YAML_HINT = "a key, a colon, a space, a value; keys of one section under each other"


class YamlReader:
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
            if _is_unclosed(problem):  # the end of the file, or a later line, is where it is noticed only
                mark = error.context_mark or mark
            hint = next((hint for part, hint in HINTS.items() if part in problem), YAML_HINT)
            words = "".join(text.splitlines()[mark.line : mark.line + 1]) if mark else ""
            if mark and (hidden := self._hidden(words, self._at(mark.line))):
                raise hidden from None
            if "\t" in words:
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

    def _hidden(self, text: str, line: int | None) -> ConfigError | None:
        """Return the error for an invisible character in `text`, which makes a line mean something else."""
        if text.isascii() or not (found := INVISIBLE.search(text)):
            return None
        name = unicodedata.name(found[0], "no name").lower()
        problem = f"has an invisible character, U+{ord(found[0]):04X} ({name})"
        return self._error(line, (), problem, "type the line anew, with plain spaces")

    def _refuse_depth(self, events: "Iterator[yaml.Event]", key: "Key") -> None:
        """Raise ConfigError if a document is nested too deep, before it is composed.

        Composing recurses in C without a limit, so that a file of 20 KB can crash it. Reading events does not.
        """
        depth = 0
        for event in events:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                line = self._at(event.start_mark.line) if event.start_mark else None
                raise self._error(line, key, "is nested too deep", "a { or [ too many?")

    def _tree(self, loader: "yaml.SafeLoader", node: "yaml.Node", key: "Key", depth: int) -> Any:
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
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(loader, node, key, line)

    def _mapping(self, loader: "yaml.SafeLoader", node: "yaml.MappingNode", key: "Key", depth: int) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name_node, value_node in node.value:
            line = self._at(name_node.start_mark.line)
            if not isinstance(name_node, yaml.ScalarNode):
                raise self._error(line, key, "has a key that is not text", "a { or [ too many?")
            name = name_node.value
            if not name_node.style and (hidden := self._hidden(name, line)):
                raise hidden
            inner = (*key, name)
            if name in tree:
                first = self._places[inner][1]
                hint = "remove one" if first is None else f"it stands in line {first} too: remove one"
                raise self._error(line, inner, "is set twice", hint)
            self._places[inner] = (self._file, line)
            tree[name] = self._tree(loader, value_node, inner, depth + 1)
        return tree

    def _scalar(self, loader: "yaml.SafeLoader", node: "yaml.ScalarNode", key: "Key", line: int | None) -> Any:
        kind, said = node.tag.rpartition(":")[2], str(node.value)
        if kind not in ("null", "bool", "int", "float"):
            if not node.style and NO_SPACE.match(said) and (hidden := self._hidden(said, line)):
                raise hidden
            if not node.style and said[:1] in CURLY_QUOTES and said[-1:] in CURLY_QUOTES and len(said) > 1:
                raise self._error(
                    line, key, "is in curly quotes, which YAML takes for letters", 'write straight ones (")'
                )
            return said  # dates, and values with tags that flowpi does not know, are text
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError):
            value = math.nan
        if isinstance(value, float) and not math.isfinite(value):
            raise self._error(line, key, "is not a number that flowpi can use", "write a plain number, or quote text")
        if kind in ("int", "float") and not PLAIN_NUMBER.fullmatch(said):
            # Never the value itself in these sections: it may be a key that begins with a zero.
            problem = f"is {said}, which YAML reads as {value}" if not is_secretive(key) else "is no plain number"
            meant = _decimal(said)
            number = f"write {meant}" if meant and not is_secretive(key) else "write a plain number"
            raise self._error(line, key, problem, f"put it in quotes if it is text, or {number}")
        return value

    def _at(self, line: int) -> int | None:
        return None if self._line is None else line + self._line

    def _error(self, line: int | None, key: "Key", problem: str, hint: str) -> ConfigError:
        return ConfigError(self._file, line, ".".join(key), problem, hint)


def _is_unclosed(problem: str) -> bool:
    return "unexpected end of stream" in problem or "parsing a flow" in problem


def _decimal(said: str) -> str:
    """Return the plain number that somebody may have meant, or nothing."""
    plain = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", said.replace("_", ""))
    return plain if PLAIN_NUMBER.fullmatch(plain) else ""
