"""`flowpi sinks`: shows where texts go and how far each sink is, lets sinks try now, and passes what blocks them."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from flowpi.cli.terminal import print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core.errors import UsageError

ACTIONS = ("list", "retry", "skip")


def sinks(config: Config, action: str, names: Sequence[str], *, as_json: bool) -> int:
    """Carry out an action on the named sinks, or on all. Returns the exit code.

    Raises:
        UsageError: there is no such sink; to skip needs names; or only a list can be JSON.
    """
    if as_json and action != "list":
        raise UsageError(f"--json is for the list, and not for {action}", "")
    if action == "skip" and not names:
        raise UsageError("which sink?", "name it as `flowpi sinks` does")
    with DaemonConnection(config) as connection:
        answer = connection.ask({"command": "sinks", "action": action, **({"sinks": list(names)} if names else {})})
    match action:
        case "list":
            _show(answer, as_json=as_json)
        case "retry":
            print(f"{_counted(answer['count'], 'sink')} will be tried now")
        case _:
            print(f"{_counted(answer['count'], 'text')} passed over")
    return 0


def describe(sink: dict[str, Any]) -> str:
    """Return how a sink is, in one line without its name."""
    what = [sink["state"]]
    if sink["state"] == "failing" and sink["error"]:
        what[0] += f" since {sink['error_at']}: {sink['error']}" if sink["error_at"] else f": {sink['error']}"
    if sink["waiting"]:
        what.append(f"{_counted(sink['waiting'], 'text')} waiting, the oldest of {sink['oldest_at']}")
    if sink["parked"]:
        what.append(f"{sink['parked']} parked")
    if sink["missed"]:
        what.append(f"{sink['missed']} expired before it had them")
    return "; ".join(what)


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_safely(json.dumps({"sinks": answer["sinks"], "parked": answer["parked"]}))
        return
    for sink in answer["sinks"]:
        print_safely(f"{sink['name']:<15} {describe(sink)}")
        if sink["last"]:
            print_safely(f"{'':<15} has {_text(sink['last'])}")
        for one in answer["parked"]:
            if one["sink"] == sink["name"]:
                print_safely(f"{'':<15} parked {_text(one)}: {one['reason']}")
    if answer["more"]:
        print("more texts are parked than can be shown", file=sys.stderr)
    if not answer["sinks"]:
        print("no sink is configured: texts go to the socket and the transcripts", file=sys.stderr)


def _text(one: dict[str, Any]) -> str:
    return str(one["id"]) if one["part"] == 1 else f"{one['id']}.{one['part']}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
