"""The documents on the configuration are true: every key is in the tables, and the examples load."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import inspect

from flowpi.config.backends import KINDS
from flowpi.config.loading import load, masked
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings
from tests.docs.documents import ROOT, blocks, code, rows, section, text_of

DOCUMENT = "docs/configuration.md"
BACKENDS = "docs/backends.md"


def settings(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from settings(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def named_settings(section: str, kind: type[Any]) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        default = "none" if field.default is msgspec.NODEFAULT else field.default
        yield f"{section}.NAME.{field.name}", msgspec.to_builtins(default)


def documented() -> list[tuple[str, str]]:
    """Return the key and the default of each row, the default as JSON."""
    table = rows(section(DOCUMENT, "Every key of the configuration"))
    cells = [row for row in table if code(row[0])]
    defaults = [yaml.safe_load((code(cell[1]) or [cell[1]])[0]) for cell in cells]
    return [(code(cell[0])[0], json.dumps(default)) for cell, default in zip(cells, defaults, strict=True)]


def test_every_key_and_its_default_is_in_the_tables() -> None:
    known = masked(Config())
    del known["backends"]
    named = [each for kind in KINDS.values() for each in named_settings("backends", kind.settings)]
    named += named_settings("publish.webhooks", WebhookSettings)
    named += named_settings("profiles", ProfileSettings)
    assert sorted(documented()) == sorted((key, json.dumps(default)) for key, default in [*settings(known), *named])


def test_the_reference_and_the_tables_are_written_from_the_types() -> None:
    """Run `docs/make_configuration.py` if this fails."""
    written = runpy.run_path(str(ROOT / "docs" / "make_configuration.py"))
    assert written["reference"]() == text_of("config/flowpi.yaml")
    assert written["document"](text_of(DOCUMENT)) == text_of(DOCUMENT)


def test_every_key_has_a_description_and_says_when_it_counts() -> None:
    def undescribed(kind: inspect.Type, name: str) -> Iterator[str]:
        assert isinstance(kind, inspect.StructType)
        for field in kind.fields:
            match field.type:
                case inspect.StructType():
                    yield from undescribed(field.type, f"{name}.{field.encode_name}")
                case inspect.Metadata(extra_json_schema={"description": str()}, extra={"applied": str()}):
                    pass
                case _:
                    yield f"{name}.{field.encode_name}"

    kinds = [inspect.type_info(kind) for kind in [*(kind.settings for kind in KINDS.values()), WebhookSettings]]
    found = [name for kind in (inspect.type_info(Config), *kinds) for name in undescribed(kind, "")]
    assert found == [".backends"]  # each kind describes its own


def test_the_examples_are_good_configurations(tmp_path: Path) -> None:
    examples = blocks("yaml", section(BACKENDS, "Where the text comes from"))
    assert len(examples) == 4
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
