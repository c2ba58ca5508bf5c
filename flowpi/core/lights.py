"""What the LED shows: one table of patterns, and pure functions that say which of them is due.

Told apart by rhythm alone, so that one colour of LED, or an eye that sees no colours, is enough. What is shown for
long while all is well is steady (dark when idle, lit when recording): a blinking LED is a wake-up for each edge.

An LED with colours adds them. What is well is white or blue, what is not is yellow or red: the two that the common
kinds of colour blindness keep apart, where red and green are one.
"""

from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from flowpi.core.appliance import MICROPHONE, MUTED, Finishing, Idle, Recording, Starting, State
from flowpi.core.events import DeadlinePassed, DeliveryDeferred, Event, TextDelivered


class Color(Struct, frozen=True):
    """Each from 0 to 1, in light and not in what an eye makes of it."""

    red: float
    green: float
    blue: float

    @property
    def brightness(self) -> float:
        """What an LED of one colour shows of it."""
        return max(self.red, self.green, self.blue)

    def dimmed(self, factor: float) -> "Color":
        return Color(self.red * factor, self.green * factor, self.blue * factor)


DARK = Color(0.0, 0.0, 0.0)
WHITE = Color(1.0, 1.0, 1.0)
BLUE = Color(0.0, 0.3, 1.0)
CYAN = Color(0.0, 1.0, 0.8)
YELLOW = Color(1.0, 0.7, 0.0)
ORANGE = Color(1.0, 0.35, 0.0)
RED = Color(1.0, 0.0, 0.0)


class Pattern(Struct, frozen=True):
    """`steps`: (brightness 0 to 1, seconds), over and over; one step is steady and its duration means nothing.

    `color`: of what is lit; one of its parts is 1. `meaning`: for a person.
    """

    name: str
    steps: tuple[tuple[float, float], ...]
    color: Color
    meaning: str


SHORT_S = 0.15
LONG_S = 0.45
GAP_S = 0.15


def _signs(signs: str, cycle_s: float, *, dark_s: float = 0.0) -> tuple[tuple[float, float], ...]:
    """`signs`: a dot for a short flash, a dash for a long one; dark for `dark_s` before them, and after them until
    `cycle_s` is over."""
    steps = [(0.0, dark_s)] if dark_s else []
    for sign in signs:
        steps += [(1.0, LONG_S if sign == "-" else SHORT_S), (0.0, GAP_S)]
    rest_s = cycle_s - sum(seconds for _, seconds in steps[:-1])
    return (*steps[:-1], (0.0, round(rest_s, 3)))


# What is well.
STARTING = Pattern("starting", ((1.0, 0.5), (0.0, 0.5)), WHITE, "not ready yet")
STARTED = replace(STARTING, steps=STARTING.steps * 2)
"""Once, where the button is there as soon as the LED: for an eye to see more of it than a flash."""

READY = Pattern("ready", ((0.0, 1.0),), BLUE, "press and talk")
LISTENING = Pattern("listening", ((1.0, 1.0),), BLUE, "it records")
WORKING = Pattern("working", ((1.0, 0.1), (0.0, 0.1)), BLUE, "it waits for the text; you may press again")
SHUTTING_DOWN = Pattern("shutting down", ((1.0, 0.4), (0.0, 0.1)), WHITE, "it stops")

# Moments: once, when it comes about. They begin and end dark, or their flashes would run into what is shown before and
# after: "kept" and "no network" would be most of "configuration".
DELIVERED = Pattern("delivered", _signs(".-", 1.5, dark_s=0.15), CYAN, "once: the text is out")
KEPT = Pattern("kept", _signs("-.", 1.5, dark_s=0.15), YELLOW, "once: it is kept, and its text comes later")

# What is not.
NO_BACKEND = Pattern("no backend", _signs(".", 3.0), YELLOW, "none gives a text: what you say is kept for later")
NO_NETWORK = Pattern("no network", _signs("-", 3.0), ORANGE, "no backend is reached: what you say is kept for later")
NO_MICROPHONE = Pattern("no microphone", _signs("..", 2.0), RED, "a press does nothing until there is one")
TROUBLE = Pattern(
    "trouble",
    _signs("...", 3.0),
    RED,
    "the disk does not take audio or text, or the microphone gives digital silence; `flowpi status` says which",
)
MUTED_LIGHT = Pattern("muted", _signs("--", 3.0), RED, "the microphone is closed until you hold the button again")
CONFIGURATION = Pattern(
    "configuration", _signs("-.-.", 3.0), ORANGE, "wrong: flowpi does not run, or has kept the one of before"
)

ALL = (
    STARTING,
    READY,
    LISTENING,
    WORKING,
    DELIVERED,
    KEPT,
    NO_NETWORK,
    NO_BACKEND,
    NO_MICROPHONE,
    MUTED_LIGHT,
    TROUBLE,
    CONFIGURATION,
    SHUTTING_DOWN,
)

MOMENTS = (DELIVERED, KEPT)

BACKEND = "backend"
"""The code of the fault that no backend gave a text: what was said is kept."""

NETWORK = "network"
"""The code of the same fault where no backend could even be reached."""

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

BOOT_FILE = "configuration"
"""The code of the fault that a configuration on the boot partition was refused: the one of before is in force."""

BUTTON = "button"
LED = "led"
QUIET = frozenset({BUTTON, LED, QUARANTINE, REFUSED})
"""Faults that the LED does not tell: commands do the button's work, a broken LED shows nothing, and where no backend
is left for one that refuses, `BACKEND` says so. What is in quarantine is no news after a day."""

SINK = "sink."
"""The beginning of the codes of the faults that a sink accepts no texts; its name follows."""


def is_quiet(code: str) -> bool:
    """Return whether the LED does not show a fault: those of `QUIET`, and a sink, which catches up by itself."""
    return code in QUIET or code.startswith(SINK)


DRAWN_S = 3.0
STEP_S = 0.05


def drawing(pattern: Pattern) -> str:
    """A line for `DRAWN_S`, a character for each `STEP_S`: # is lit. A moment is drawn once."""
    length = round(DRAWN_S / STEP_S)
    if len(pattern.steps) == 1:
        return ("#" if pattern.steps[0][0] else ".") * length
    signs = "".join(("#" if brightness else ".") * round(seconds / STEP_S) for brightness, seconds in pattern.steps)
    return signs.ljust(length, ".") if pattern in MOMENTS else (signs * length)[:length]


def light(state: State, *, deaf: bool = False, stopping: bool = False) -> Pattern:
    """What to show now. Faults show only while nothing is going on: what the person does comes first.

    `deaf`: nobody listens to the button yet, only to commands.
    """
    if stopping:
        return SHUTTING_DOWN
    match state:
        case Starting():
            return STARTING
        case Idle() if deaf:
            return STARTING
        case Recording():
            return LISTENING
        case Finishing():
            return WORKING
        case Idle():
            codes = {fault.code for fault in state.faults if not is_quiet(fault.code)}
            if MUTED in codes:  # by intent, and it explains why no microphone is heard
                return MUTED_LIGHT
            if BOOT_FILE in codes:  # it may explain all others
                return CONFIGURATION
            if MICROPHONE in codes:
                return NO_MICROPHONE
            if codes - {BACKEND, NETWORK}:
                return TROUBLE
            if NETWORK in codes:
                return NO_NETWORK
            return NO_BACKEND if codes else READY
        case _:
            assert_never(state)


def moment(before: State, event: Event, after: State) -> Pattern | None:
    """What to show once because of this step: the one that was awaited has its text, or is kept."""
    if not (isinstance(before, Finishing) and isinstance(after, Idle)):
        return None
    match event:
        case TextDelivered():
            return DELIVERED
        case DeliveryDeferred() | DeadlinePassed():
            return KEPT
        case _:
            return None
