"""`flowpi status`: the state of the daemon on one screen."""

import json
from typing import Any

from flowpi.cli.sinks import describe as describe_sink
from flowpi.cli.terminal import print_safely
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core import topics
from flowpi.doctor import units


def status(config: Config, *, as_json: bool, follow: bool) -> int:
    """Print the state of the daemon as one screen or as JSON; with `follow`, print a line at every change."""
    with DaemonConnection(config) as connection:
        if not follow:
            now = connection.ask({"command": "status"})["status"]
            print_safely(json.dumps(now) if as_json else describe(connection.hello, now, _recogniser(config)))
            return 0
        seen: dict[str, Any] = {}
        shown = ""
        for message in connection.subscribe([topics.STATE, topics.STATS]):
            seen[message["topic"]] = message["payload"]
            if topics.STATE in seen:
                state, stats = seen[topics.STATE], seen.get(topics.STATS, {})
                now = json.dumps({"state": state, "stats": stats}) if as_json else _line(state)
                if now != shown:
                    print_safely(now)
                shown = now
    return 0


def describe(hello: dict[str, Any], now: dict[str, Any], recogniser: str = "") -> str:
    """Return the screen as text, from the daemon's greeting and its response to `status`.

    Args:
        recogniser: what flowpi-asr says about its models; empty: nothing, or it is not in use.
    """
    state, stats, backlog = now["state"], now["stats"], now["backlog"]
    oldest = f", the oldest since {backlog['oldest_at']}" if backlog["oldest_at"] else ""
    in_memory = f", {backlog['in_memory']} in memory only" if backlog["in_memory"] else ""
    names = ("delivered", "cancelled", "dropped", "failed")
    counted = [str(stats["dictations"]), *(f"{stats[name]} {name}" for name in names)]
    rows = [
        ("flowpi", f"{hello['flowpi']} on {hello['device_id']}, since {stats['started_at']}"),
        ("state", f"{state['state']} since {state['since']}"),
        ("utterance", state["utterance"] or "-"),
        *([("profile", state["profile"])] if "profile" in state else []),
        ("backend", state["backend"] or "none has answered yet"),
        ("kept for later", f"{backlog['count']}{oldest}{in_memory}"),
        ("dictations", ", ".join(counted)),
        ("sound lost", f"{stats['lost_ms']} ms in {stats['gaps']} gaps"),
    ]
    last = [
        f"{name.removesuffix('_ms').replace('_', ' ')} {value:g} ms"
        for name, value in stats.items()
        if name.endswith("_ms") and name != "lost_ms" and value is not None
    ]
    rows += [("last", ", ".join(last))] if last else []
    rows += [("recogniser", recogniser)] if recogniser else []
    rows += [(f"sink {sink['name']}", describe_sink(sink)) for sink in now.get("sinks", [])]
    rows += [("fault", f"{message} (since {since})") for message, since in _faults(state).items()]
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def _recogniser(config: Config) -> str:
    """Return what flowpi-asr says about its models, if it is in use."""
    return units.status_text(units.RECOGNISER) if units.RECOGNISER in units.wanted(config) else ""


def _faults(state: dict[str, Any]) -> dict[str, str]:
    """Return the message of each fault and since when it stands.

    By message, because one cause can be two faults with the same message: a backend refuses, and there is no other.
    """
    return {fault["message"]: fault["since"] for fault in reversed(state["faults"])}


def _line(state: dict[str, Any]) -> str:
    """Return the state as one line."""
    faults = "".join(f"; {message}" for message in _faults(state))
    kept = f", {state['spooled']} kept for later" if state["spooled"] else ""
    profile = f", profile {state['profile']}" if "profile" in state else ""
    return f"{state['since']} {state['state']}{profile}{kept}{faults}"
