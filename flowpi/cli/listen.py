"""`flowpi listen`: prints the messages of the daemon."""

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from flowpi.cli.terminal import json_line, print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core import moments, topics
from flowpi.core.errors import UsageError
from flowpi.core.safe_text import one_line
from flowpi.core.ulid import first_ulid

DEFAULT_FILTERS = ["availability", "state", "transcript/#", "event/#", "stats", "sinks"]
"""The topics that `listen` shows by default: all but `level`, which wakes the CPU and is made only on request."""


def listen(
    config: Config,
    *,
    filters: Sequence[str],
    text_only: bool = False,
    count: int | None = None,
    form: str = "json",
    since: str | None = None,
) -> int:
    """Print messages until the daemon or the reader goes away.

    Args:
        filters: the topics; none for `DEFAULT_FILTERS`, or for final texts where only texts are printed.
        text_only: final texts only, whatever `form` is.
        count: stop after so many lines.
        since: a moment as the user writes it: final texts of utterances that were begun from then on come first.
        form: `json`; `text` for the text of each message that has one; or a template.

    Raises:
        UsageError: filters for final texts only; no such form; or `since` is no moment, or the filters show no final
            texts. No connection was made.
    """
    if text_only and filters:
        raise UsageError("--text prints final texts and takes no FILTER", "use --format text")
    line = _line_maker("text" if text_only else form)
    wanted = list(filters) or ([topics.FINAL] if text_only or form == "text" else DEFAULT_FILTERS)
    after = None if since is None else _first_since(since, wanted)
    with DaemonConnection(config) as connection:
        for message in connection.subscribe(wanted, after=after):
            if (one := line(message)) is None:
                continue
            print_safely(one)
            if count is not None and (count := count - 1) == 0:
                break
    return 0


def _first_since(since: str, filters: Sequence[str]) -> dict[str, Any]:
    """Return what comes right before the texts since a moment. Raises UsageError."""
    if not any(topics.matches(one, topics.FINAL) for one in filters):
        raise UsageError("--since prints final texts, and no FILTER is for them", f"add {topics.FINAL}")
    try:
        ms = moments.moment_ms(since, datetime.datetime.now().astimezone())
        return {"id": first_ulid(ms), "part": 0}
    except (ValueError, OverflowError):
        raise UsageError(f"{since!r} is no time for --since", f"write {moments.PERSON_FORMS}") from None


def _line_maker(form: str) -> Callable[[dict[str, Any]], str | None]:
    """Return what makes a line of a message, or None if there is nothing to print of it. Raises UsageError."""
    match form:
        case "json":
            return json_line
        case "text":
            return _text
    if "{" not in form and "}" not in form:
        raise UsageError(f"there is no format {form!r}", "json, text, or a template such as '{id} {text}'")
    from flowpi.cli.template import Template

    return Template(form).line


def _text(message: dict[str, Any]) -> str | None:
    payload = message["payload"]
    text = payload.get("text") if isinstance(payload, dict) else None
    return one_line(text) if text else None
