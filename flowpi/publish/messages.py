"""The payloads of the topics (see the table of topics in docs/api.md) and of the local socket.

Times are RFC 3339 in UTC; durations are seconds.
"""

import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from flowpi.core.ulid import END_OF_TIME_MS, ulid_unix_ms


def rfc3339(unix_s: float) -> str:
    """Return a time in UTC, to the millisecond."""
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(ulid: str) -> str:
    """Return when an utterance was begun, by the clock at that time."""
    return rfc3339(min(ulid_unix_ms(ulid), END_OF_TIME_MS - 1) / 1000)


class FaultPayload(Struct):
    """A fault that stands, and since when."""

    code: str
    message: str
    since: str


class StatePayload(Struct):
    """The state of the appliance.

    `utterance`: the id of the one that is being recorded, or whose text is awaited.
    `spooled`: how many utterances wait for a backend.
    `profile`: that of the utterance; left out if it has none.
    """

    state: str
    since: str
    utterance: str | None
    backend: str | None
    faults: list[FaultPayload]
    spooled: int
    profile: str | UnsetType = UNSET


class Partial(Struct):
    """The preliminary text of an utterance.

    `text`: the whole text so far. `stable`: how many characters at its start are settled, since the text before it has
    the same: whole words. `profile`: left out if there is none.
    """

    id: str
    part: int
    text: str
    language: str | None
    backend: str
    stable: int
    profile: str | UnsetType = UNSET


class Final(Struct, omit_defaults=True):
    """The text of an utterance.

    `final_after_s`: seconds from the end of the audio to the text; None if an earlier run of the daemon recorded it.
    `late`: the user was told before that the text comes later.

    These are left out unless they differ from the default:
    `confirmed`: false if the backend closed the connection without confirming that this is the whole text.
    `partial`: true if the end or a piece of the sound is missing, because the power, the microphone or the disk failed.
    `lost_ms`: how much of the sound is silence in place of what the machine was too busy to record.
    `raw`: what the recogniser wrote, if `text` was edited.
    `rewritten`: true if a language model changed it, too.
    `profile`: the name of the profile that it was dictated with; it may not be configured any more.
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
    raw: str | None = None
    rewritten: bool = False
    profile: str | None = None


class Failed(Struct):
    """An utterance without a text.

    `retry`: the audio is kept and its text comes later; if false, the user has to look at it (`flowpi spool list`).
    """

    id: str
    part: int
    reason: str
    retry: bool


class ButtonPayload(Struct):
    """A gesture of the button. `profile`: the one that has this button for its own; left out if none has."""

    kind: str
    profile: str | UnsetType = UNSET


class BacklogPayload(Struct):
    """The utterances that wait for their text. `oldest_at`: when the oldest was begun; None if there is none."""

    count: int
    oldest_at: str | None
    in_memory: int


class Spooled(Struct):
    """One part of an utterance that has no text yet, as `flowpi spool list` shows it.

    `name`: the name to use in commands.
    `id`: None, as is `said_at`, if the name of its file is not that of an utterance.
    `state`: `speaking`; `sending`; `waiting` for its turn; `parked`, no backend accepts it, and only `flowpi spool
        retry` tries again; `deleting`, it is done with, but the disk does not delete it; `quarantined`, its file cannot
        be read; `newer`, a later flowpi wrote it.
    `reason`: why there is no text.
    `said_at`: when it was begun, by the clock at that time.
    `duration_s`: an estimate from the size of its file.
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
    """The counters since the start of the daemon, and the timings of the last dictation in ms, None before the first.

    `quarantined` is no counter but the number of files that are in quarantine now.
    """

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


class TextId(Struct, frozen=True):
    """What identifies a text."""

    id: str
    part: int


class Untyped(Struct, frozen=True):
    """A text that the keyboard did not type, or not to its end.

    `typed`, `of`: how many of its characters were typed, and how many it has.
    `reason`: `no_host`, `asleep`, `no_permission` or `layout`, as in the fault `keyboard`; `late`; `cancelled`; `full`,
        too many were waiting; `long`, it has too many characters; or `disk`, which did not take the mark of the text.
    """

    id: str
    part: int
    typed: int
    of: int
    reason: Annotated[str, Meta(max_length=40)]


class SinkPayload(Struct):
    """One sink, and how far it is.

    `state`: `opening`; `open`; `failing`, an error stands and it is tried again; `closed`, the daemon stops.
    `last`: the text that it received last; None if it has none yet, or follows no texts.
    `waiting`: how many texts it still has to receive. `oldest_at`: when the first of them was begun.
    `error`, `error_at`: the last error, which may be over, and when it came.
    `parked`: how many texts it refused for good. `missed`: how many expired before it had them.
    `untyped`: the last text that the keyboard did not type completely; left out if there is none, and of other sinks.
    `caps_lock`: true if Caps Lock was on, on the computer, when the last text was typed; else left out.
    """

    name: str
    state: str
    last: TextId | None
    waiting: int
    oldest_at: str | None
    error: str | None
    error_at: str | None
    parked: int
    missed: int
    untyped: Untyped | UnsetType = UNSET
    caps_lock: bool | UnsetType = UNSET


class ParkedText(Struct):
    """A text that a sink refused for good, and why."""

    sink: str
    id: str
    part: int
    reason: str


class GivenUp(Struct, frozen=True, omit_defaults=True):
    """A text that a process gave up, and why; the reason may be left out where there are many."""

    id: str
    part: int
    reason: Annotated[str, Meta(max_length=200)] = ""


class SinkReport(Struct, frozen=True, omit_defaults=True):
    """What a sink that is a process of its own reports about itself: see `remote.py`. Later versions may add members.

    `last`: the text that it is done with last, noted on its own disk before; None if it has none, or follows no texts.
    `error`, `error_at`: as in `SinkPayload`.
    `parked`: all texts that it gave up.
    `untyped`, `caps_lock`: as in `SinkPayload`.
    """

    sink: Annotated[str, Meta(max_length=100)]
    state: Literal["open", "failing"]
    last: TextId | None = None
    error: Annotated[str, Meta(max_length=500)] | None = None
    error_at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT[\d:.]{8,12}Z$")] | None = None
    parked: Annotated[list[GivenUp], Meta(max_length=1000)] = []
    untyped: Untyped | None = None
    caps_lock: bool = False


class DictationEnding(Struct):
    """What became of a dictation, for a client that waited for it.

    `outcome`: `text`; `kept`, its text comes later; `cancelled`; or `failed`, no text comes of it.
    `texts`: those of its parts, in order; only for `text`.
    `reason`: why there is no text.
    """

    outcome: str
    texts: list[str]
    reason: str = ""


class Request(Struct, forbid_unknown_fields=True):
    """One line from a client of the local socket: either `subscribe`, or `command` with its arguments.

    `utterances`: ULIDs, which mean all parts, or with `.2` at the end for the second part.
    `after`: list only what comes after this name, or this text.
    `sinks`: the names of sinks.
    `report`: what a sink that is a process of its own reports, a `SinkReport`.
    `limit`, `text`, `since`, `until`, `order`: which texts of the transcripts, see `pages.Query`.
    `profile`: the name of the profile of the dictation that a `record` begins.
    `wait`: answer a `record` that ends a dictation only when its text is there, or is known not to come now; and a
        report only when its sink is to do something, or reports again.
    `request`: anything; it is copied to the response.
    """

    subscribe: list[str] | UnsetType = UNSET
    command: str | UnsetType = UNSET
    action: str | UnsetType = UNSET
    utterances: list[str] | UnsetType = UNSET
    after: str | TextId | UnsetType = UNSET
    sinks: list[str] | UnsetType = UNSET
    limit: int = 100
    text: str = ""
    since: str | None = None
    until: str | None = None
    order: str = "oldest"
    context: Any = UNSET
    report: Any = UNSET
    profile: str | None = None
    wait: bool = False
    request: Any = None


class Problem(Struct):
    """Why a request failed, or why a client is disconnected."""

    code: str
    message: str
