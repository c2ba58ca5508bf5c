"""`flowpi spool`: what has no text yet, for its owner: list it, try it again, take its sound out, drop it.

Asks the daemon where one runs, which knows why there is no text; else it reads the spool itself. The sound is always
read from the spool, so exporting needs the daemon's user or root.
"""

import asyncio
import datetime
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowpi.appliance.spool_requests import choose, drop_from, file_of, named, spooled
from flowpi.client import DaemonConnection
from flowpi.config.schema import Config
from flowpi.core.errors import (
    DaemonUnavailable,
    FlowpiError,
    NoInputError,
    NoPermissionError,
    UnavailableError,
    UsageError,
)
from flowpi.host.paths import spool_directory
from flowpi.publish.messages import Problem, Spooled
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.spool import Spool

NO_DAEMON = "no daemon runs"

AT_ONCE = 500
"""Names in one command: a line of the socket is at most 64 KiB."""


def spool_list(config: Config, *, as_json: bool) -> int:
    """One line an utterance, oldest first; or JSON."""
    found, directory = _found(config)
    if as_json:
        print(json.dumps(msgspec.to_builtins(found)))
        return 0
    for one in found:
        print(f"{one.name:<29} {_moment(one.said_at):<19} {_duration(one.duration_s):>7}  {_why(one)}")
    if not found:
        print(f"nothing waits in {directory}", file=sys.stderr)
    return 0


def spool_retry(config: Config, names: Sequence[str]) -> int:
    """Try now, those named or all; what no backend took, and what could not be read, too.

    Raises:
        UnavailableError: no daemon runs, which does this at its start anyway.
    """
    count = _ask(config, "retry", names)
    if count is None:
        raise UnavailableError(
            "no daemon runs to send them", "start it with `systemctl start flowpi`: it tries all of them"
        )
    return _tell(count, "will be tried now")


def spool_drop(config: Config, names: Sequence[str], *, everything: bool) -> int:
    """Delete for good, text or not."""
    if not names and not everything:
        raise UsageError("which utterances?", "name them as `flowpi spool list` does, or say --all")
    if names and everything:
        raise UsageError("names or --all, not both", "")
    if not names:
        names = [one.name for one in _found(config)[0] if one.state != "speaking"]
        if not names:
            return _tell(0, "dropped")
    count = 0
    for at in range(0, len(names), AT_ONCE):
        dropped = _ask(config, "drop", names[at : at + AT_ONCE])
        count += _drop(config, names[at : at + AT_ONCE]) if dropped is None else dropped
    return _tell(count, "dropped")


def _drop(config: Config, names: Sequence[str]) -> int:
    """Where no daemon runs."""
    spool = Spool(spool_directory(config))
    _chosen(named(map(spooled, _entries(spool))), names)  # before anything is made there
    spool.open()  # nobody else may have it meanwhile
    try:
        chosen = _chosen(named(map(spooled, spool.entries())), names)
        asyncio.run(drop_from(spool, chosen))
    finally:
        spool.close()
    return len(chosen)


def spool_export(config: Config, names: Sequence[str], to: Path) -> int:
    """Each as a WAV in the directory `to`; the spool keeps them. Prints the paths.

    Returns the code of the first that could not be exported: a file is in the way, or there is no sound of it.

    Raises:
        NoInputError: `to` is no directory.
    """
    if not to.is_dir():
        raise NoInputError(f"{str(to)!r} is no directory", f"make it: mkdir -p {shlex.quote(str(to))}")
    found, directory = _found(config)
    spool = Spool(directory)
    chosen = _chosen(found, names)
    on_disk = {entry.name for entry in _entries(spool)}
    code = 0
    for one in chosen:
        path = to / f"{Path(one.name).name}.wav"
        try:
            if file_of(one) not in on_disk:
                raise NoInputError(
                    f"the disk does not have {one.name}", "it is in the daemon's memory: free some space"
                )
            spool.export(file_of(one), path)
            print(path)
        except FlowpiError as error:  # one that is in the way hides no other
            print(f"flowpi: {error}", file=sys.stderr)
            code = code or error.exit_code
    if not chosen:
        print(f"nothing waits in {directory}", file=sys.stderr)
    return code


def _ask(config: Config, action: str, names: Sequence[str] = ()) -> int | None:
    """To how many the daemon did that; None if there is no daemon."""
    try:
        with DaemonConnection(config) as connection:
            count: int = connection.ask({"command": "spool", "action": action, "utterances": list(names)})["count"]
            return count
    except DaemonUnavailable:
        return None


def _found(config: Config) -> tuple[list[Spooled], Path]:
    """All of it, and where it lies."""
    found: list[Spooled] = []
    try:
        with DaemonConnection(config) as connection:
            answer: dict[str, Any] = {"more": True}
            while answer["more"]:
                after = {"after": found[-1].name} if found else {}
                answer = connection.ask({"command": "spool", "action": "list", **after})
                found += msgspec.convert(answer["spool"], list[Spooled])
            return found, Path(answer["directory"])
    except DaemonUnavailable:
        directory = spool_directory(config)
        print(f"flowpi: {NO_DAEMON}: this is what lies in {directory}", file=sys.stderr)
        return named(map(spooled, _entries(Spool(directory)))), directory


def _entries(spool: Spool) -> list[SpoolEntry]:
    if spool.directory.exists() and not os.access(spool.directory, os.R_OK | os.X_OK):
        raise NoPermissionError(f"{str(spool.directory)!r} is not for this user", "try it with sudo")
    return spool.entries()


def _chosen(found: list[Spooled], names: Sequence[str]) -> list[Spooled]:
    chosen = choose(found, names)
    if isinstance(chosen, Problem):
        raise UsageError(chosen.message, "see `flowpi spool list`")
    return chosen


def _moment(said_at: str | None) -> str:
    """In local time, to the second."""
    if said_at is None:
        return ""
    return datetime.datetime.fromisoformat(said_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _why(one: Spooled) -> str:
    where = " (in memory only)" if one.in_memory else ""
    words = f"{one.state}{where}: {one.reason}" if one.reason else f"{one.state}{where}"
    return "".join(c if c.isprintable() else " " for c in words)


def _tell(count: int, what: str) -> int:
    print(f"{count} utterance{'' if count == 1 else 's'} {what}")
    return 0
