"""`flowpi spool`: what has no text yet, for its owner: list it, try it again, take its sound out, drop it.

Asks the daemon where one runs, which knows why there is no text; else it reads the spool itself. The sound is always
read from the spool, so exporting needs the daemon's user or root.
"""

import datetime
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowpi.client import Connection
from flowpi.commands import choose, listed
from flowpi.config import Config
from flowpi.core.errors import (
    CannotCreateError,
    DaemonUnavailable,
    NoInputError,
    NoPermissionError,
    UnavailableError,
    UsageError,
)
from flowpi.dictation.spool import Spool
from flowpi.dictation.utterance import PartId
from flowpi.host.paths import spool_directory
from flowpi.publish.messages import Problem, Spooled

NO_DAEMON = "no daemon runs"


def spool_list(config: Config, *, as_json: bool) -> int:
    """One line an utterance, oldest first; or JSON."""
    spooled, directory = _spooled(config)
    if as_json:
        print(json.dumps(msgspec.to_builtins(spooled)))
        return 0
    for one in spooled:
        print(f"{_name(one):<29} {_moment(one.said_at)} {_duration(one.duration_s):>7}  {_why(one)}")
    if not spooled:
        print(f"nothing waits in {directory}", file=sys.stderr)
    return 0


def spool_retry(config: Config, names: Sequence[str]) -> int:
    """Try now, those named or all; what no backend took, and what could not be read, too.

    Raises:
        UnavailableError: no daemon runs, which does this at its start anyway.
    """
    answer = _ask(config, "retry", names)
    if answer is None:
        raise UnavailableError(
            "no daemon runs to send them", "start it with `systemctl start flowpi`: it tries all of them"
        )
    return _tell(len(answer), "will be tried now")


def spool_drop(config: Config, names: Sequence[str], *, everything: bool) -> int:
    """Delete for good, text or not."""
    if not names and not everything:
        raise UsageError("which utterances?", "name them as `flowpi spool list` does, or say --all")
    if names and everything:
        raise UsageError("names or --all, not both", "")
    if not names:
        names = [_name(one) for one in _spooled(config)[0] if one.state != "speaking"]
        if not names:
            return _tell(0, "dropped")
    answer = _ask(config, "drop", names)
    if answer is not None:
        return _tell(len(answer), "dropped")
    spool = Spool(spool_directory(config))
    spool.open()  # nobody else may have it meanwhile
    try:
        chosen = _chosen(listed(spool), names)
        for one in chosen:
            spool.discard(PartId(one.id, one.part))
    finally:
        spool.close()
    return _tell(len(chosen), "dropped")


def spool_export(config: Config, names: Sequence[str], to: Path) -> int:
    """Each as a WAV in the directory `to`; the spool keeps them. Prints the paths.

    Raises:
        CannotCreateError: a file is in the way, or cannot be written.
    """
    spooled, directory = _spooled(config)
    spool = Spool(directory)
    readable = {(one.id, one.part) for one in _readable(spool)}
    chosen = _chosen(spooled, names)
    missing = [_name(one) for one in chosen if (one.id, one.part) not in readable]
    if missing and names:
        raise NoInputError(f"the disk does not have {', '.join(missing)}", "it is in the daemon's memory only")
    for one in chosen:
        path = to / f"{_name(one)}.wav"
        if _name(one) in missing:
            continue
        try:
            spool.export(PartId(one.id, one.part), path)
        except FileExistsError:
            raise CannotCreateError(f"{str(path)!r} is there already", "take another directory: --to DIR") from None
        except OSError as error:
            raise CannotCreateError(
                f"{str(path)!r} cannot be written ({error.strerror})", "take another directory: --to DIR"
            ) from None
        print(path)
    return 0


def _ask(config: Config, action: str, names: Sequence[str] = ()) -> list[Spooled] | None:
    """What the daemon did that to; None if there is no daemon."""
    try:
        with Connection(config) as connection:
            answer = connection.ask({"command": "spool", "action": action, "utterances": list(names)})
            return msgspec.convert(answer["spool"], list[Spooled])
    except DaemonUnavailable:
        return None


def _spooled(config: Config) -> tuple[list[Spooled], Path]:
    """All of it, and where it lies."""
    found: list[Spooled] = []
    try:
        with Connection(config) as connection:
            answer: dict[str, Any] = {"more": True}
            while answer["more"]:
                after = {"after": f"{found[-1].id}.{found[-1].part}"} if found else {}
                answer = connection.ask({"command": "spool", "action": "list", **after})
                found += msgspec.convert(answer["spool"], list[Spooled])
            return found, Path(answer["directory"])
    except DaemonUnavailable:
        directory = spool_directory(config)
        print(f"flowpi: {NO_DAEMON}: this is what lies in {directory}", file=sys.stderr)
        return _readable(Spool(directory)), directory


def _readable(spool: Spool) -> list[Spooled]:
    try:
        return sorted(listed(spool), key=lambda one: (one.id, one.part))
    except FileNotFoundError:
        return []
    except PermissionError:
        raise NoPermissionError(f"{str(spool.directory)!r} is not for this user", "try it with sudo") from None


def _chosen(spooled: list[Spooled], names: Sequence[str]) -> list[Spooled]:
    chosen = choose(spooled, names)
    if isinstance(chosen, Problem):
        raise UsageError(chosen.message, "see `flowpi spool list`")
    return chosen


def _name(one: Spooled) -> str:
    return str(PartId(one.id, one.part))


def _moment(said_at: str) -> str:
    """In local time, to the second."""
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
