"""The payloads of the topics (the table of topics in docs/api.md), and those of the local socket.

Times are RFC 3339 in UTC; durations are seconds.
"""

import datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from flowpi.core.ulid import END_OF_TIME_MS, ulid_unix_ms


def rfc3339(unix_s: float) -> str:
    """To the millisecond, in UTC."""
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(ulid: str) -> str:
    """When an utterance was begun, by the clock of then."""
    return rfc3339(min(ulid_unix_ms(ulid), END_OF_TIME_MS - 1) / 1000)


class FaultPayload(Struct):
    code: str
    message: str
    since: str


class StatePayload(Struct):
    """`utterance`: the one that is recorded, or whose text is awaited. `spooled`: how many wait for a backend."""

    state: str
    since: str
    utterance: str | None
    backend: str | None
    faults: list[FaultPayload]
    spooled: int


class Partial(Struct):
    """`text`: the whole text so far."""

    id: str
    part: int
    text: str
    language: str | None
    backend: str


class Final(Struct, omit_defaults=True):
    """`final_after_s`: from the end of the audio to the text; None if the audio is of an earlier life of the daemon.

    `late`: it came after the person was told that it is kept for later.

    Only there if they say something: `confirmed` false, the backend closed without saying that this is all; `partial`
    true, the sound has an end or a piece missing, for want of power, microphone or disk; `lost_ms`, how much of the
    sound is silence in the place of what the machine was too busy to take.
    """

    id: str
    part: int
    text: str
    language: str | None
    backend: str
    started_at: str
    duration_s: float
    final_after_s: float | None
    late: bool
    confirmed: bool = True
    partial: bool = False
    lost_ms: int = 0


class Failed(Struct):
    """`retry`: the audio is kept, and its text comes later; else its owner has to look (`flowpi spool list`)."""

    id: str
    part: int
    reason: str
    retry: bool


class ButtonPayload(Struct):
    kind: str


class BacklogPayload(Struct):
    """What waits for its text. `oldest_at`: when the oldest was said; None if there is none."""

    count: int
    oldest_at: str | None
    in_memory: int


class Spooled(Struct):
    """One part of an utterance that has no text yet, as `flowpi spool list` shows it.

    `name`: what to call it by; `id` is None, and `said_at` too, of what is none by the name of its file. `state`:
    `speaking`; `sending`; `waiting` for its turn; `parked`, no backend takes it, and only `flowpi spool retry` tries
    again; `deleting`, it is over, but the disk does not delete it; `quarantined`, its file cannot be read; `newer`, a
    later flowpi wrote it. `reason`: why there is no text.
    `said_at`: by the clock of then. `duration_s`: by the size of its file.
    """

    name: str
    id: str | None
    part: int
    state: str
    reason: str
    said_at: str | None
    duration_s: float
    in_memory: bool = False


class Stats(Struct):
    """Counters since the start, but `quarantined`: how many files lie there now. And timings of the last dictation in
    ms; None where there is none yet."""

    started_at: str
    dictations: int = 0
    delivered: int = 0
    deferred: int = 0
    cancelled: int = 0
    dropped: int = 0
    failed: int = 0
    quarantined: int = 0
    gaps: int = 0
    lost_ms: int = 0
    press_to_first_packet_ms: float | None = None
    release_to_commit_ms: float | None = None
    release_to_final_ms: float | None = None
    final_to_published_ms: float | None = None


class Request(Struct, forbid_unknown_fields=True):
    """One line from a client of the local socket: `subscribe`, or `command` with what belongs to it.

    `utterances`: ULIDs, for all parts, or with `.2` at the end for the second one. `after`: list what comes behind it.
    """

    subscribe: list[str] | UnsetType = UNSET
    command: str | UnsetType = UNSET
    action: str | UnsetType = UNSET
    utterances: list[str] | UnsetType = UNSET
    after: str | UnsetType = UNSET
    context: Any = UNSET
    request: Any = None


class Problem(Struct):
    code: str
    message: str
