"""The documents on the configuration are true: every key is in the tables, and the examples load."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from flowpi.config.backends import KINDS
from flowpi.config.loading import load, masked
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from tests.docs.documents import blocks, code, rows, section

DOCUMENT = "docs/configuration.md"
BACKENDS = "docs/backends.md"


def settings(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def backend_settings(kind: Any) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        default = "none" if field.default is msgspec.NODEFAULT else field.default
        yield f"backends.NAME.{field.name}", msgspec.to_builtins(default)


def documented() -> list[tuple[str, str]]:
    """Key and default of each row, the default as JSON."""
    table = rows(section(DOCUMENT, "Every key of the configuration"))
    cells = [row for row in table if len(row) == 3 and code(row[0]) and not row[0].startswith("key")]
    defaults = [yaml.safe_load((code(default) or [default])[0]) for _, default, _ in cells]
    return [(code(cell[0])[0], json.dumps(default)) for cell, default in zip(cells, defaults, strict=True)]


def test_every_key_and_its_default_is_in_the_tables() -> None:
    known = masked(Config())
    del known["backends"]
    of_kinds = {name: dict(backend_settings(kind.settings)) for name, kind in KINDS.items()}
    of_kinds["flow"]["backends.NAME.url"] = masked(Config())["backends"]["local"]["url"]
    wanted = [*settings(known), *(setting for kind in of_kinds.values() for setting in kind.items())]
    assert sorted(documented()) == sorted((key, json.dumps(default)) for key, default in wanted)


def test_the_examples_are_good_configurations(tmp_path: Path) -> None:
    examples = blocks("yaml", section(BACKENDS, "Where the text comes from"))
    assert len(examples) == 3
    for example in [*examples, *blocks("yaml", section(DOCUMENT, "Configuration"))]:
        file = tmp_path / "flowpi.yaml"
        file.write_text(example)
        config = load(str(file))
        assert set(config.dictation.backends) <= set(config.backends)
    cloud = re.search(r"\{credential: (\S+)\}", examples[0])
    assert cloud
    assert f"--name={cloud[1]} " in section(BACKENDS, "Wispr Flow in the cloud")
    assert f"LoadCredentialEncrypted={cloud[1]}:" in section(BACKENDS, "Wispr Flow in the cloud")
    assert Secret.parse({"credential": cloud[1]})
