"""`flowpi spool`: lists the utterances without a text, retries them, exports their sound, and drops them.

It asks the daemon if one is running, because that knows why there is no text; otherwise it reads the spool itself. The
sound is always read from the spool, so exporting needs the daemon's user or root.
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
from flowpi.cli.terminal import print_path
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
from flowpi.core.safe_text import printable
from flowpi.host.paths import spool_directory
from flowpi.host.units import how_to_start_daemon
from flowpi.publish.messages import Problem, Spooled
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.spool import Spool

NO_DAEMON = "no daemon runs"

AT_ONCE = 500
"""The most names in one request: a line of the socket is at most 64 KiB."""


def spool_list(config: Config, *, as_json: bool) -> int:
    """Print one line for each utterance, oldest first, or all of them as JSON. Returns the exit code."""
    found, directory = _found(config)
    if as_json:
        print(json.dumps(msgspec.to_builtins(found)))
        return 0
    for one in found:
        print(f"{one.name:<29} {_moment(one.said_at):<19} {_duration(one.duration_s):>7}  {_why(one)}")
    if not found:
        _remark(f"nothing waits in {directory}")
    return 0


def spool_retry(config: Config, names: Sequence[str]) -> int:
    """Try the named utterances now, or all, also those that are parked or in quarantine. Returns the exit code.

    Raises:
        UnavailableError: no daemon is running. Its next start tries all of them anyway.
    """
    count = _ask(config, "retry", names)
    if count is None:
        raise UnavailableError(
            "no daemon runs to send them", f"start it with {how_to_start_daemon()}: it tries all of them"
        )
    return _tell(count, "will be tried now")


def spool_drop(config: Config, names: Sequence[str], *, everything: bool) -> int:
    """Delete the named utterances for good, or everything. Returns the exit code.

    Raises:
        UsageError: neither names nor `everything` were given, or both.
    """
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
    """Delete utterances without a daemon. Returns how many."""
    spool = Spool(spool_directory(config))
    _chosen(named(map(spooled, _entries(spool))), names)  # a wrong name must fail before `open` makes a directory
    spool.open()  # and locks it: a daemon that starts meanwhile must not send what is deleted here
    try:
        chosen = _chosen(named(map(spooled, spool.entries())), names)
        asyncio.run(drop_from(spool, chosen))
    finally:
        spool.close()
    return len(chosen)


def spool_export(config: Config, names: Sequence[str], to: Path) -> int:
    """Write each utterance as a WAV to the directory `to` and print its path. The spool keeps them.

    The sound is private, so the files are for the caller alone: under sudo for the user who called that.

    Returns:
        The exit code: 0, or that of the first utterance that could not be exported, because a file is in the way or
        there is no sound of it.

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
            spool.export(file_of(one), path, _caller())
            print_path(path)
        except FlowpiError as error:  # the others are exported all the same
            _remark(f"flowpi: {error}")
            code = code or error.exit_code
    if not chosen:
        _remark(f"nothing waits in {directory}")
    return code


def _caller() -> tuple[int, int] | None:
    """Return the user and the group of whoever called sudo, or None if this is not sudo's root."""
    try:
        return (int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"])) if os.geteuid() == 0 else None
    except (KeyError, ValueError):
        return None


def _ask(config: Config, action: str, names: Sequence[str] = ()) -> int | None:
    """Send a request about these utterances, or all.

    Returns:
        How many utterances were affected, or None if no daemon is running.
    """
    try:
        with DaemonConnection(config) as connection:
            count: int = connection.ask({"command": "spool", "action": action, "utterances": list(names)})["count"]
            return count
    except DaemonUnavailable:
        return None


def _found(config: Config) -> tuple[list[Spooled], Path]:
    """Return all utterances without a text, from the daemon or else from the spool, and the spool's directory."""
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
        _remark(f"flowpi: {NO_DAEMON}: this is what lies in {directory}")
        return named(map(spooled, _entries(Spool(directory)))), directory


def _entries(spool: Spool) -> list[SpoolEntry]:
    """Return what lies in the spool. Raises NoPermissionError, SpoolError."""
    if spool.directory.exists() and not os.access(spool.directory, os.R_OK | os.X_OK):
        raise NoPermissionError(f"{str(spool.directory)!r} is not for this user", "try it with sudo")
    return spool.entries()


def _chosen(found: list[Spooled], names: Sequence[str]) -> list[Spooled]:
    """Return the named utterances, or all. Raises UsageError for a name that is not among them."""
    chosen = choose(found, names)
    if isinstance(chosen, Problem):
        raise UsageError(chosen.message, "see `flowpi spool list`")
    return chosen


def _moment(said_at: str | None) -> str:
    """Return a moment in local time, to the second; empty for None."""
    if said_at is None:
        return ""
    return datetime.datetime.fromisoformat(said_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _why(one: Spooled) -> str:
    """Return state and reason of an utterance, without characters that a terminal would interpret."""
    where = " (in memory only)" if one.in_memory else ""
    words = f"{one.state}{where}: {one.reason}" if one.reason else f"{one.state}{where}"
    return printable(words, None)


def _remark(words: str) -> None:
    """Print a line on stderr, which names files and directories."""
    print(printable(words, None), file=sys.stderr)


def _tell(count: int, what: str) -> int:
    """Print what happened to how many utterances. Returns the exit code."""
    print(f"{count} utterance{'' if count == 1 else 's'} {what}")
    return 0
