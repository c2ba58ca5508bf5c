"""Write `config/flowpi.yaml` and the tables in `docs/configuration.md` from the types of the settings.

Run it without arguments after a change of `flowpi/config/schema.py` or of a kind of backend. A test compares.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml
from msgspec import inspect

from flowpi.config.backends import KINDS
from flowpi.config.loading import masked
from flowpi.config.phrases import expected, plain
from flowpi.config.profiles import ProfileSettings
from flowpi.config.schema import Config
from flowpi.config.secret import Secret
from flowpi.config.webhooks import WebhookSettings

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "config" / "flowpi.yaml"
DOCUMENT = ROOT / "docs" / "configuration.md"

BEGIN, END = "<!-- begin: written by docs/make_configuration.py -->", "<!-- end -->"
WIDTH = 120

APPLIED = {
    "reload": "reload",
    "start": "restart",
    "server": "restart of flowpi-asr",
    "hook": "restart of flowpi-hook",
    "keyboard": "restart of flowpi-keyboard",
}

HEADER = """\
# flowpi: the configuration, with every key at its default. Keep the lines that you change; the rest may go.
#
#   flowpi config check      says what is wrong, with the line
#   systemctl reload flowpi  applies it; with a mistake in it the old one stays
#
# A change counts after a reload, where nothing else is said.
#
# A secret (client_key, api_key, partner_token, secret, password) is one of
#   {credential: NAME}     a file that systemd passes: LoadCredential=NAME:PATH in the unit
#   {file: PATH}           the first and only line of a file
#   {env: NAME}            a variable of the environment
#   "the secret itself"    then keep this file from others: chmod 640
"""

EXAMPLES = """\
  # cloud:                     # Wispr Flow
  #   kind: flow
  #   url: wss://platform-api.wisprflow.ai/api/v1/dash/client_ws
  #   client_key: {credential: wispr-client-key}
  # clinic:                    # Suki
  #   kind: suki
  #   url: https://sdp.suki.ai
  #   partner_id: your-partner-id
  #   partner_token: {credential: suki-partner-token}
  #   provider_id: null
  #   language: en-US
  #   audio_key: audioData     # audioData | data: the member that holds the audio
  #   ca_file: null
"""


class Key(NamedTuple):
    """A key as the documents show it. `default` is in plain types, or None with `required`."""

    name: str
    type: inspect.Type
    description: str
    applied: str
    required: bool
    default: Any


def keys(kind: type[Any], defaults: dict[str, Any]) -> Iterator[Key]:
    """Yield the keys of a section, the sections in it excluded."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        if isinstance(field.type, inspect.Metadata) and field.type.extra_json_schema:
            description = field.type.extra_json_schema["description"]
            applied = (field.type.extra or {})["applied"]
            required = field.encode_name not in defaults
            yield Key(field.encode_name, field.type, description, applied, required, defaults.get(field.encode_name))


def sections(
    kind: type[Any], defaults: dict[str, Any], name: str = ""
) -> Iterator[tuple[str, type[Any], dict[str, Any]]]:
    """Yield each section under its dotted name, with its type and its defaults, in the order of the file."""
    yield name, kind, defaults
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        if isinstance(field.type, inspect.StructType):
            inner = f"{name}.{field.encode_name}" if name else field.encode_name
            yield from sections(field.type.cls, defaults[field.encode_name], inner)


def span(key: Key) -> str:
    """Return the range of a number, and nothing for other types."""
    match plain(key.type):
        case inspect.IntType(ge=low, le=high) | inspect.FloatType(ge=low, le=high):
            return f"{low} to {high}"
        case _:
            return ""


def value(key: Key) -> str:
    """Return what a value must be."""
    return (
        expected(key.type)
        .replace(expected(inspect.CustomType(Secret)), "a secret")
        .replace("a list of a secret", "a list of secrets")
        .replace("|", "\\|")
    )


def shown(value: Any) -> str:
    """Return a value as YAML writes it in one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def named_defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the defaults of a section that the user names, such as a kind of backend."""
    fields = {field.encode_name: field.default for field in msgspec.structs.fields(kind)}
    return {name: msgspec.to_builtins(value) for name, value in fields.items() if value is not msgspec.NODEFAULT}


# The table


def table(rows: Iterator[Key], prefix: str) -> str:
    lines = ["| key | default | value | counts after | meaning |", "|---|---|---|---|---|"]
    for key in rows:
        default = "none" if key.required else f"`{shown(key.default)}`"
        meaning = key.description.replace("|", "\\|")
        lines.append(f"| `{prefix}{key.name}` | {default} | {value(key)} | {APPLIED[key.applied]} | {meaning} |")
    return "\n".join(lines) + "\n"


def summary(kind: type[Any]) -> str:
    """Return the first paragraph of a docstring, in one line."""
    assert kind.__doc__
    return " ".join(textwrap.dedent(kind.__doc__).strip().split("\n\n")[0].split())


def tables() -> str:
    parts = []
    for name, kind, defaults in sections(Config, masked(Config())):
        rows = list(keys(kind, defaults))
        if rows and name:
            parts.append(f"### {name}\n\n{summary(kind)}\n\n{table(iter(rows), f'{name}.')}")
        elif rows:
            parts.append(table(iter(rows), ""))
    for name, row in KINDS.items():
        defaults = named_defaults(row.settings)
        heading = f"### backends.NAME, kind: {name}\n\n{summary(row.settings)}\n\n"
        parts.append(heading + table(keys(row.settings, defaults), "backends.NAME."))
    for name, named in {"publish.webhooks.NAME": WebhookSettings, "profiles.NAME": ProfileSettings}.items():
        heading = f"### {name}\n\n{summary(named)}\n\n"
        parts.append(heading + table(keys(named, named_defaults(named)), f"{name}."))
    return "\n".join(parts)


# The reference


def comment(key: Key, indent: str) -> Iterator[str]:
    """Yield the lines of the comment above a key."""
    text = re.sub(r"\[([^]]+)\]\(([^)#]+)[^)]*\)", r"\1 in docs/\2", key.description)
    notes = [
        note
        for note in (span(key), "" if key.applied == "reload" else f"counts after a {APPLIED[key.applied]}")
        if note
    ]
    text += f" ({'; '.join(notes)})" if notes else ""
    yield from textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def entries(rows: Iterator[Key], indent: str) -> Iterator[str]:
    for key in rows:
        yield from comment(key, indent)
        yield f"{indent}{key.name}: {shown(key.default)}"


def reference() -> str:
    lines: list[str] = []
    for name, kind, defaults in sections(Config, masked(Config())):
        indent = "  " * (name.count(".") + bool(name))
        if name:
            lines += [
                "",
                *textwrap.wrap(
                    summary(kind), WIDTH, initial_indent=f"{indent[2:]}# ", subsequent_indent=f"{indent[2:]}# "
                ),
            ]
            lines.append(f"{indent[2:]}{name.rpartition('.')[2]}:")
        lines += entries(keys(kind, defaults), indent)
        if name == "dictation":
            lines += backends()
    return HEADER + "\n" + "\n".join(lines).lstrip("\n") + "\n"


def backends() -> Iterator[str]:
    local = masked(Config())["backends"]["local"]
    yield from ("", "# Backends by name.", "backends:")
    yield "  # The recogniser on this machine (flowpi-asr.service); always there, even if not named."
    yield from ("  local:", f"    kind: {local['kind']}")
    yield from entries(keys(KINDS[local["kind"]].settings, local), "    ")
    yield EXAMPLES.removesuffix("\n")


def document(before: str) -> str:
    """Return `docs/configuration.md` with new tables between the marks."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables()}\n{END}{tail}"


if __name__ == "__main__":
    REFERENCE.write_text(reference())
    DOCUMENT.write_text(document(DOCUMENT.read_text()))
