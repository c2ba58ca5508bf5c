"""A password or key in the configuration, or the place where it is kept."""

import os
from typing import Literal, final

from flowpi.core.errors import ConfigError

MAX_SECRET_BYTES = 64 * 1024
"""The largest file of a secret: a token has a few KB, so a larger file is the wrong one."""


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
            with open(path, "rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
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
