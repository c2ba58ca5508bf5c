"""The templates of `flowpi listen --format`, in the format of Python: `{started_at} {text}`.

A field is a member of a payload in the table of topics (docs/api.md), or `topic`.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from flowpi.core import topics
from flowpi.core.errors import UsageError
from flowpi.core.nearest import nearest
from flowpi.core.safe_text import one_line
from flowpi.dsp.level import Level
from flowpi.publish import messages

PAYLOADS = (
    messages.Final,
    messages.Partial,
    messages.Failed,
    messages.StatePayload,
    messages.ButtonPayload,
    messages.Stats,
    Level,
)

LEFT_OUT = {
    field.encode_name: field.default
    for field in msgspec.structs.fields(messages.Final)
    if field.default is not msgspec.NODEFAULT
}
"""The members that a final text has only if they differ from this."""

SAMPLES = {str: "", int: 0, float: 0.0, bool: False}
"""A value of each type, to try a format on; of others, such as lists, the text is shown."""


class _Formatter(string.Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs[field_name], field_name  # whole members only: nothing is reached through an object

    def format_field(self, value: Any, format_spec: str) -> str:
        match value:
            case None:
                return ""
            case str():
                value = one_line(value)
            case list() | dict():
                value = str(value)
        return str(super().format_field(value, format_spec))


class Template:
    """Makes a line of each message that has all the fields."""

    def __init__(self, template: str) -> None:
        """Raises UsageError for what is no template, or has a field that no message has."""
        samples: dict[str, Any] = {"topic": ""}
        for payload in PAYLOADS:
            for field in msgspec.structs.fields(payload):
                samples.setdefault(field.encode_name, SAMPLES.get(_plain(field.type), ""))
        self._template = template
        self._fields: set[str] = set()
        try:
            for _, name, spec, _ in string.Formatter().parse(template):
                inner = [name for _, name, _, _ in string.Formatter().parse(spec or "")]
                self._fields.update(each for each in (name, *inner) if each is not None)
        except ValueError as error:
            raise UsageError(
                f"--format {template!r} cannot be read ({error})", "as in --format '{id} {text}'"
            ) from None
        for name in sorted(self._fields):
            if name not in samples:
                raise UsageError(f"--format names {name!r}, which no message has", nearest(name, samples))
        if not self._fields:
            raise UsageError(f"--format {template!r} names no field", "json, text, or a template such as '{id} {text}'")
        self._filled(samples)

    def line(self, message: dict[str, Any]) -> str | None:
        """Return the line of a message, or None if it lacks a field."""
        topic, payload = message["topic"], message["payload"]
        values = {**(LEFT_OUT if topic == topics.FINAL else {}), **(payload if isinstance(payload, dict) else {})}
        values["topic"] = topic
        if not self._fields.issubset(values):
            return None
        return self._filled(values)

    def _filled(self, values: dict[str, Any]) -> str:
        """Return the template with these values. Raises UsageError if they cannot be shown as it says."""
        try:
            return _Formatter().vformat(self._template, (), values)
        except (ValueError, TypeError, MemoryError, OverflowError) as error:
            what = str(error) or "too long"
            raise UsageError(
                f"--format {self._template!r} cannot be used ({what})", "as in '{duration_s:.1f}'"
            ) from None


def _plain(kind: Any) -> Any:
    """Return the type that a value has which is not None."""
    return next((each for each in getattr(kind, "__args__", ()) if each in SAMPLES), kind)
