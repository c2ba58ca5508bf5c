"""The table of faults: what each code means, how bad it is, and what the LED shows for it.

A new fault is a code and a row here, and its row in docs/api.md. The appliance, the LED, the status line and the tests
of the documentation read `KINDS`; whoever raises a fault names its code. All faults share two entries of the journal,
`MessageId.FAULT_RAISED` and `MessageId.FAULT_CLEARED`, which carry the code.
"""

import enum
from collections.abc import Iterable

from msgspec import Struct

from flowpi.core.lights import (
    CONFIGURATION,
    MUTED_LIGHT,
    NO_BACKEND,
    NO_MICROPHONE,
    NO_NETWORK,
    READY,
    TROUBLE,
    Pattern,
)

MUTED = "muted"
BOOT_FILE = "configuration"
MICROPHONE = "microphone"
SPOOL = "spool"
TRANSCRIPTS = "transcripts"
SILENCE = "silence"
QUIET = "quiet"
NETWORK = "network"
BACKEND = "backend"
REFUSED = "refused"
QUARANTINE = "quarantine"
BUTTON = "button"
LED = "led"
KEYBOARD = "keyboard"
SINK_FAMILY = "sink."
"""Begins the code of a sink's fault; the name of the sink follows."""
UNDELIVERED_FAMILY = "undelivered."
"""Begins the code of the fault for texts that a sink does not have and will not receive by itself; its name follows."""


class Fault(Struct, frozen=True):
    """Something is wrong and the user should know. `since` is the `now` of the step that raised it first."""

    code: str
    message: str
    since: float


class Severity(enum.IntEnum):
    """How bad a fault is, the worst first."""

    BLOCKING = 0
    """A press is refused."""
    DEGRADED = 1
    """A press is accepted; its audio or text is at risk or late."""
    MINOR = 2
    """Dictation works as always, and the LED does not show the fault."""


class FaultKind(Struct, frozen=True):
    """One row of the table.

    Attributes:
        code: as in the topic `state`; `FAMILY.NAME` stands for all faults `FAMILY.` and a configured name.
        pattern: what the LED shows while nothing goes on.
        sentence: what the fault means, for the documentation.
        headline: what a blocking fault puts in place of "ready".
    """

    code: str
    severity: Severity
    pattern: Pattern
    sentence: str
    headline: str = ""

    @property
    def accepts_presses(self) -> bool:
        """Whether dictation goes on."""
        return self.severity is not Severity.BLOCKING


_BLOCKING, _DEGRADED, _MINOR = Severity

KINDS = (
    # Being muted is no failure, but forbids a recording as one does. It explains why no microphone is heard.
    FaultKind(MUTED, _BLOCKING, MUTED_LIGHT, "a long press closed the microphone, and the next one opens it", "muted"),
    # A refused configuration may explain all that follows.
    FaultKind(
        BOOT_FILE,
        _DEGRADED,
        CONFIGURATION,
        "the configuration on the boot partition was refused: the one before stays in force",
    ),
    FaultKind(MICROPHONE, _BLOCKING, NO_MICROPHONE, "there is nothing to record from", "not ready"),
    FaultKind(SPOOL, _DEGRADED, TROUBLE, "the disk does not accept audio: what is said is in memory only"),
    FaultKind(
        TRANSCRIPTS,
        _DEGRADED,
        TROUBLE,
        "the disk does not accept texts: they are published, and written as soon as it does",
    ),
    FaultKind(SILENCE, _DEGRADED, TROUBLE, "the microphone gives digital silence"),
    FaultKind(QUIET, _DEGRADED, TROUBLE, "the last dictation was so quiet that words are lost"),
    FaultKind(NETWORK, _DEGRADED, NO_NETWORK, "no backend can be reached: what is said is kept for later"),
    FaultKind(BACKEND, _DEGRADED, NO_BACKEND, "no backend gives a text: what is said is kept for later"),
    # Where no backend is left for one that does not work, BACKEND or NETWORK stands too.
    FaultKind(REFUSED, _MINOR, READY, "a backend needs attention; the next one is used meanwhile"),
    FaultKind("backend.NAME", _MINOR, READY, "the backend NAME does not work; the next one is used meanwhile"),
    # Nothing is lost: the texts are on the disk. And who presses the button can do nothing about a sink.
    FaultKind(f"{SINK_FAMILY}NAME", _MINOR, READY, "the sink NAME does not accept texts: they wait for it on the disk"),
    FaultKind(
        KEYBOARD,
        _MINOR,
        READY,
        "texts are not typed: `no_host`, no computer is connected; `asleep`, it sleeps; `no_permission`; `layout`",
    ),
    # No news after a day.
    FaultKind(QUARANTINE, _MINOR, READY, "files of the spool are damaged; `flowpi spool list` shows them"),
    FaultKind(
        f"{UNDELIVERED_FAMILY}NAME",
        _MINOR,
        READY,
        "texts are parked that the sink NAME refused, or expired before it had them; `flowpi sinks` shows them",
    ),
    FaultKind(BUTTON, _MINOR, READY, "the button cannot be used; commands do its work"),
    FaultKind(LED, _MINOR, READY, "the LED cannot be used"),
)
"""All faults. Of several at once the LED shows the one that stands first here."""

_RANKS = {kind.code: rank for rank, kind in enumerate(KINDS)}


def kind_of(code: str) -> FaultKind:
    """Return the row of a code. A code with a dot belongs to a family."""
    return KINDS[_rank(code)]


def most_visible(faults: Iterable[Fault]) -> FaultKind | None:
    """Return the row of the fault that the LED shows, or None if there is no fault."""
    return min((kind_of(fault.code) for fault in faults), key=KINDS.index, default=None)


def by_urgency(faults: Iterable[Fault]) -> list[Fault]:
    """Sort faults for a reader: blocking ones first, in the order of the table, then by severity and age."""

    def urgency(fault: Fault) -> tuple[Severity, float]:
        kind = kind_of(fault.code)
        return kind.severity, fault.since if kind.accepts_presses else _rank(fault.code)

    return sorted(faults, key=urgency)


def _rank(code: str) -> int:
    family, dot, _ = code.partition(".")
    return _RANKS[f"{family}.NAME" if dot else code]
