"""The check of the sinks: that each accepts texts, and that none has refused or missed any."""

from typing import Any

from flowpi.config.schema import Config
from flowpi.core.safe_text import printable
from flowpi.doctor.ask import status_of
from flowpi.doctor.findings import Finding, fine

PART = "sinks"


def examine(config: Config) -> list[Finding]:
    """Return the findings of each sink of the daemon that runs; none if it has no sinks."""
    status = status_of(config)
    return [finding for sink in (status or {}).get("sinks", []) for finding in look_at(sink)]


def look_at(sink: dict[str, Any]) -> list[Finding]:
    """Return the findings of one sink, as in the topic `sinks`."""
    name, found = sink["name"], []
    if sink["state"] == "failing":
        waiting = f"; {sink['waiting']} texts wait" if sink["waiting"] else ""
        what = f"{name} does not accept texts: {printable(sink['error'] or '')}{waiting}"
        hint = (
            f"when that is fixed, `flowpi sinks retry {name}`; `flowpi sinks skip {name}` passes the text that blocks"
        )
        found.append(Finding(PART, "warning", "not_accepting", what, hint))
    if sink["parked"]:
        what = f"{name} has refused {sink['parked']} texts for good; `flowpi sinks` shows them"
        hint = f"`flowpi sinks retry {name}` sends them again, `flowpi sinks skip {name}` forgets them"
        found.append(Finding(PART, "warning", "parked", what, hint))
    if sink["missed"]:
        what = f"{sink['missed']} texts expired before {name} had them"
        hint = f"raise publish.max_lag_days; `flowpi sinks skip {name}` forgets this"
        found.append(Finding(PART, "warning", "missed", what, hint))
    return found or [fine(PART, f"{name} is not open yet" if sink["state"] == "opening" else f"{name} accepts texts")]
