"""`flowpi last`: prints the last texts."""

import sys
from typing import Any

from flowpi.cli.terminal import json_line, print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core.safe_text import one_line

AT_ONCE = 500
"""The most texts of one answer."""


def last(config: Config, number: int, *, as_json: bool) -> int:
    """Print the last texts, oldest first, one a line, or all of them as JSON. Returns the exit code."""
    found: list[dict[str, Any]] = []
    with DaemonConnection(config) as connection:
        answer: dict[str, Any] = {"more": True}
        while answer["more"] and len(found) < number:
            after = {"after": {"id": found[-1]["id"], "part": found[-1]["part"]}} if found else {}
            limit = min(number - len(found), AT_ONCE)
            answer = connection.ask({"command": "transcripts", "order": "newest", "limit": limit, **after})
            found += answer["transcripts"]
    found.reverse()
    if as_json:
        print_safely(json_line(found))
        return 0
    for one in found:
        print_safely(one_line(one["text"]))
    if not found:
        print("there is no text yet", file=sys.stderr)
    return 0
