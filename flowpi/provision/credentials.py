"""Secrets as files that systemd passes to the services: `LoadCredential=flowpi:DIRECTORY` in both units.

The daemon has `/etc/flowpi/credentials` and the recogniser `/etc/flowpi/credentials-asr`, so that each service gets
only its own secrets. A file is never changed: a new value gets a new name, so that the configuration in force keeps its
secrets until the new configuration replaces it.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flowpi.config.schema import Config
from flowpi.config.secret import secrets
from flowpi.core.errors import ConfigError
from flowpi.host.folders import FOLDER, make_folder, replace_file, sync_names
from flowpi.provision.boot_file import RECOGNISER, Literal

if TYPE_CHECKING:
    from flowpi.config.checks import Key

PREFIX = "flowpi_"
"""The start of each credential's name: systemd joins the name in LoadCredential= and the file name with `_`."""

DAEMONS = "credentials"
RECOGNISERS = "credentials-asr"


def keep(etc: Path, literals: Iterable[Literal]) -> "dict[Key, str]":
    """Write each secret durably to a file, unless one has it already; return the names of the credentials.

    Raises:
        OSError: a file cannot be read or written.
    """
    names: dict[Key, str] = {}
    files: dict[int, str] = {}
    for literal in literals:
        directory = etc / _directory(literal.key)
        if literal.start not in files:  # else a YAML alias: one value under two keys
            files[literal.start] = _have(directory, _base(literal.key), literal.value.encode())
        names[literal.key] = PREFIX + files[literal.start]
    return names


def check_references(etc: Path, config: Config) -> None:
    """Raise ConfigError if `config` names a credential of ours that is missing, as in a file from another appliance."""
    for key, name in _references(config):
        path = etc / _directory(key) / name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and not os.path.lexists(path):
            problem = f"is {{credential: {name}}}, which this appliance does not have"
            raise ConfigError("configuration", None, ".".join(key), problem, "write the secret itself there")


def remove_others(etc: Path, config: Config, names: "Mapping[Key, str]") -> None:
    """Delete the files that the configuration in force does not name. Raises OSError.

    Args:
        etc: the directory of the configuration.
        config: the configuration as the user wrote it.
        names: the names of the credentials that replace its literal secrets.
    """
    wanted = {(_directory(key), name) for key, name in (*names.items(), *_references(config))}
    for directory in (DAEMONS, RECOGNISERS):
        try:
            handle = os.open(etc / directory, FOLDER | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            others = [name for name in os.listdir(handle) if (directory, PREFIX + name) not in wanted]
            for name in others:
                os.unlink(name, dir_fd=handle)
            if others:
                sync_names(handle)
        finally:
            os.close(handle)


def _have(directory: Path, base: str, value: bytes) -> str:
    """Return the name of a file with this value: an existing one, or else the first free of BASE, BASE.1, BASE.2 ..."""
    make_folder(directory)
    taken = [name for name in os.listdir(directory) if re.fullmatch(rf"{re.escape(base)}(\.\d+)?", name)]
    for name in sorted(taken):
        if (directory / name).read_bytes() == value:
            return name
    name = next(name for name in _numbered(base) if name not in taken)
    replace_file(directory / name, value, 0o600)
    return name


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in itertools.count(1):
        yield f"{base}.{number}"


def _directory(key: "Key") -> str:
    return RECOGNISERS if key[0] == RECOGNISER else DAEMONS


def _base(key: "Key") -> str:
    """Return a file name that systemd accepts; a partner id may hold any character."""
    return ".".join(
        part if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part) else hashlib.sha256(part.encode()).hexdigest()[:16]
        for part in key
    )


def _references(config: Config) -> "Iterator[tuple[Key, str]]":
    return ((key, secret.name) for key, secret in secrets(config) if secret.kind == "credential")
