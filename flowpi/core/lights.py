"""What the LED shows: a pure function of the appliance's state and faults.

Told apart by rhythm alone, so that one colour of LED, or an eye that sees no colours, is enough. What is shown for
long is steady (dark when idle, lit when recording): a blinking LED is a wake-up for each edge.
"""

from typing import assert_never

from msgspec import Struct

from flowpi.core.appliance import MICROPHONE, Finishing, Idle, Recording, Starting, State


class Pattern(Struct, frozen=True):
    """`steps`: (brightness 0 to 1, seconds), over and over; one step is steady and its duration means nothing."""

    name: str
    steps: tuple[tuple[float, float], ...]


def _blinks(count: int, on_s: float, off_s: float, pause_s: float) -> tuple[tuple[float, float], ...]:
    """`count` flashes, then dark."""
    flashes = ((1.0, on_s), (0.0, off_s)) * count
    return (*flashes[:-1], (0.0, pause_s))


READY = Pattern("ready", ((0.0, 1.0),))
LISTENING = Pattern("listening", ((1.0, 1.0),))
STARTING = Pattern("starting", _blinks(1, 0.5, 0.0, 0.5))
WORKING = Pattern("working", _blinks(1, 0.1, 0.0, 0.1))
NO_MICROPHONE = Pattern("no microphone", _blinks(2, 0.15, 0.15, 1.55))
KEPT = Pattern("kept", _blinks(1, 0.15, 0.0, 2.85))
TROUBLE = Pattern("trouble", _blinks(3, 0.15, 0.15, 2.25))

ALL = (READY, LISTENING, STARTING, WORKING, NO_MICROPHONE, KEPT, TROUBLE)

BACKEND = "backend"
"""The code of the fault that no backend gave a text: what was said is kept."""

REFUSED = "refused"
"""The code of the fault that a backend does not work until its owner does something; others may."""

SILENCE = "silence"
"""The code of the fault that the microphone gives digital silence."""

SPOOL = "spool"
"""The code of the fault that the disk does not take the audio: what is said is in memory only."""

TRANSCRIPTS = "transcripts"
"""The code of the fault that the disk does not take the texts: they are out, and are written when it does."""

QUARANTINE = "quarantine"
"""The code of the fault that files of the spool cannot be read: they wait for their owner."""

BUTTON = "button"
LED = "led"
QUIET = frozenset({BUTTON, LED, QUARANTINE, REFUSED})
"""Faults that the LED does not tell: commands do the button's work, a broken LED shows nothing, and where no backend
is left for one that refuses, `BACKEND` says so. What is in quarantine is no news after a day."""


def light(state: State) -> Pattern:
    """What to show now. Faults show only while nothing is going on: what the person does comes first."""
    match state:
        case Starting():
            return STARTING
        case Recording():
            return LISTENING
        case Finishing():
            return WORKING
        case Idle():
            codes = {fault.code for fault in state.faults} - QUIET
            if MICROPHONE in codes:
                return NO_MICROPHONE
            if codes - {BACKEND}:
                return TROUBLE
            return KEPT if codes else READY
        case _:
            assert_never(state)
