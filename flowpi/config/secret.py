"""A password or key in the configuration, or the place where it is kept."""

import os
import threading
from collections.abc import Iterator
from typing import Literal, final

import msgspec

from flowpi.core.errors import ConfigError

MAX_SECRET_BYTES = 64 * 1024
"""The largest file of a secret: a token has a few KB, so a larger file is the wrong one."""


READ_S = 1.0
"""How long a file may take to answer; a pipe or a network drive may take for ever."""

CURLY_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b"
"""What word processors make of quotes."""

FILES = ("ca_file", "certificate", "key")
"""The settings that are paths of files with certificates or their key."""

_stuck: dict[str, threading.Thread] = {}
"""The threads that still wait for a file, by its path."""


def _content(path: str) -> bytes:
    """Return the beginning of a file. Raises OSError or ValueError as `open` does, and TimeoutError after `READ_S`."""
    if path in _stuck and _stuck[path].is_alive():
        raise TimeoutError
    done: list[bytes | Exception] = []

    def read() -> None:
        try:
            with open(path, "rb") as file:
                done.append(file.read(MAX_SECRET_BYTES + 1))
        except (OSError, ValueError) as error:
            done.append(error)

    thread = _stuck[path] = threading.Thread(target=read, name="secret", daemon=True)
    thread.start()
    thread.join(READ_S)
    if not done:
        raise TimeoutError
    del _stuck[path]
    if isinstance(done[0], Exception):
        raise done[0]
    return done[0]


@final
class Secret:
    """A password or key, or the place where it is kept. Only `resolve()` returns it; `str()` and `repr()` mask it.

    Attributes:
        kind: `literal`, or where it is kept: `credential` (of systemd), `file`, `env`.
        name: the name of the credential, file or variable; empty for a literal.
    """

    __slots__ = ("_literal", "kind", "name")

    def __init__(self, kind: Literal["literal", "credential", "file", "env"], value: str) -> None:
        self.kind = kind
        self.name = "" if kind == "literal" else value
        self._literal = value if kind == "literal" else ""

    @classmethod
    def parse(cls, value: object) -> "Secret":
        """Return the secret for a value in the configuration: text, or a mapping from one place to its name.

        Raises:
            ValueError: it is neither of these.
        """
        match value:
            case str(literal) if literal:
                return cls("literal", literal)
            case {"credential": str(name), **rest} if name and "/" not in name and not rest:
                return cls("credential", name)
            case {"file": str(name), **rest} if name and not rest:
                return cls("file", name)
            case {"env": str(name), **rest} if name and not rest:
                return cls("env", name)
        raise ValueError("not a secret")

    def resolve(self) -> str:
        """Return the secret itself. It is read each time, so that a rotated file counts from the next use.

        Raises:
            ConfigError: it is missing, empty, or more than one line, which would break out of a header.
        """
        if self.kind == "literal":
            return self._printable(self._literal)
        if self.kind == "env":
            if self.name not in os.environ:
                raise self._error(f"${self.name} is not set", "set it in the environment of flowpi")
            return self._printable(os.environ[self.name])
        path = self.name
        if self.kind == "credential":
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                hint = f"{self._load_hint()}, or use {{file: PATH}}"
                raise self._error("systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set)", hint)
            path = os.path.join(directory, self.name)
        return self._printable(self._read(path))

    def _read(self, path: str) -> str:
        try:
            content = _content(path)
        except TimeoutError:
            problem = f"{path} did not answer within {READ_S:g} s"
            raise self._error(problem, "is it a pipe that nobody writes to, or a network drive that is away?") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a path"
            hint = "check that the path is right and the user of flowpi may read it"
            if self.kind == "credential":
                hint = self._load_hint()
            raise self._error(f"cannot read it ({reason})", hint) from None
        if len(content) > MAX_SECRET_BYTES:
            raise self._error("the file is too large for a secret", "put only the secret into it")
        return content.decode("utf-8", "replace")

    def _load_hint(self) -> str:
        if self.name.startswith(
            "flowpi_"
        ):  # it comes from the boot partition, and systemd passes it when the service starts
            return "restart flowpi"
        return f"add LoadCredential={self.name}:PATH to the unit"

    def _printable(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise self._error("it is empty", "put the secret there")
        if not text.isprintable() or "\ufffd" in text:
            raise self._error("it is not one line of text", "put only the secret there")
        if quotes := sorted(set(text) & set(CURLY_QUOTES)):
            raise self._error(f"it has curly quotes ({' '.join(quotes)})", "no key has: write it without them")
        if text.lower().startswith("bearer "):
            raise self._error("it begins with the word Bearer", "write the key alone: flowpi adds that word itself")
        return text

    def _error(self, problem: str, hint: str) -> ConfigError:
        return ConfigError("secret " + str(self), None, "", problem, hint)

    def masked(self) -> str | dict[str, str]:
        """Return the value for the configuration, without the secret itself."""
        return "***" if self.kind == "literal" else {self.kind: self.name}

    def __repr__(self) -> str:
        return f"Secret({self})"

    def __str__(self) -> str:
        return "***" if self.kind == "literal" else f"{{{self.kind}: {self.name}}}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return (self.kind, self.name, self._literal) == (other.kind, other.name, other._literal)

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self._literal))


def file_warnings(part: object, section: str) -> Iterator[str]:
    """Yield a warning for each file that is named in a part of the configuration and is not there.

    `section`: the dotted key of the part.
    """
    for key, value in leaves(part):
        path = value.name if isinstance(value, Secret) and value.kind == "file" else value
        if not isinstance(path, str) or (path is value and key[-1] not in FILES):
            continue
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            yield f"{'.'.join((section, *key))}: there is no file {path!r}: put it there, or correct the path"
        except OSError:
            pass  # in a folder that only the daemon may look into


def leaves(part: object, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every single value in a configuration with its key."""
    match part:
        case msgspec.Struct():
            for name in part.__struct_fields__:
                yield from leaves(getattr(part, name), (*key, name))
        case dict():
            for name, value in part.items():
                yield from leaves(value, (*key, name))
        case tuple():
            for index, value in enumerate(part):
                yield from leaves(value, (*key, str(index)))
        case _:
            yield key, part


def secrets(config: object) -> Iterator[tuple[tuple[str, ...], Secret]]:
    """Yield every secret in a configuration with its key."""
    return ((key, value) for key, value in leaves(config) if isinstance(value, Secret))


def literals(config: object) -> Iterator[tuple[tuple[str, ...], Secret]]:
    """Return the secrets that are written in the configuration itself, with their keys."""
    return ((key, secret) for key, secret in secrets(config) if secret.kind == "literal")
