"""The lines of the transcripts: what is in a line, and in the name of its file."""

import contextlib
import datetime
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from flowpi.core.retention import DAY_S
from flowpi.host.folders import READ
from flowpi.publish.messages import Final


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file for reading, for the length of a block. Raises OSError."""
    handle = os.open(path, READ)
    try:
        yield handle
    finally:
        os.close(handle)


def final_in(line: bytes) -> Final | None:
    """Return the text in a line, or None if there is none."""
    try:
        return _finals.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def finals_in(lines: Iterable[bytes]) -> Iterator[Final]:
    """Yield the text of each line that has one."""
    for line in lines:
        if (final := final_in(line)) is not None:
            yield final


def ids_in(lines: bytes) -> set[tuple[str, int]]:
    """Return id and part of each line that is whole."""
    found = set()
    for line in lines.splitlines():
        with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
            one = _ids.decode(line)
            found.add((one.id, one.part))
    return found


def end_of_day(name: str) -> float:
    """Return the Unix seconds at which the day of a file ends, or 0 if its name is no date."""
    try:
        day = datetime.datetime.strptime(name, "%Y-%m-%d.jsonl").replace(tzinfo=datetime.UTC)
    except ValueError:
        return 0.0
    return day.timestamp() + DAY_S


class _Id(msgspec.Struct):
    """What identifies a line."""

    id: str
    part: int


_finals = msgspec.json.Decoder(Final)
_ids = msgspec.json.Decoder(_Id)
