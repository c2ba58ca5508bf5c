"""`flowpi listen`: the messages of the daemon, as JSON lines or as text."""

import json
from collections.abc import Sequence
from typing import Any

from flowpi.cli.terminal import print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.core.text import escaped

DEFAULT_FILTERS = ["availability", "state", "transcript/#", "event/#", "stats"]
"""The topics that `listen` shows by default: all but `level`, which wakes the CPU and is made only on request."""


def listen(config: Config, *, filters: Sequence[str], text_only: bool) -> int:
    """Print messages as JSON lines, or final texts, until the daemon or the reader goes away."""
    wanted = [topics.FINAL] if text_only else list(filters) or DEFAULT_FILTERS
    with DaemonConnection(config) as connection:
        for message in connection.subscribe(wanted):
            if not text_only:
                print_safely(_json_line(message))
            elif text := message["payload"]["text"]:
                print_safely(" ".join(text.split()))
    return 0


def _json_line(message: dict[str, Any]) -> str:
    """Return a message as JSON that a user can read, without anything that a terminal would interpret."""
    return escaped(json.dumps(message, ensure_ascii=False).encode()).decode()
