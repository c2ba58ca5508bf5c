"""The patterns of the LED, and how each is drawn in text. `indicator.py` chooses the one to show.

The rhythm alone tells patterns apart, so a single-colour LED, or an eye that sees no colours, is enough. The two that
last while all is well are steady (dark when idle, lit when recording): each edge of a blinking LED wakes the processor.

An LED with colours adds them. Good news is white or blue, bad news is yellow or red: people with the common kinds of
colour blindness can tell these apart, unlike red and green.
"""

from msgspec import Struct
from msgspec.structs import replace


class Color(Struct, frozen=True):
    """A colour in linear RGB: each part from 0 to 1 is an amount of light, not of perceived brightness."""

    red: float
    green: float
    blue: float

    @property
    def brightness(self) -> float:
        """The brightness to use on a single-colour LED."""
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
    """A rhythm in one colour.

    Attributes:
        steps: (brightness 0 to 1, seconds), repeated; a single step is steady, and its duration means nothing.
        color: the colour of lit steps; its brightest part is 1.
        meaning: what it means, for the user.
    """

    name: str
    steps: tuple[tuple[float, float], ...]
    color: Color
    meaning: str


SHORT_S = 0.15
LONG_S = 0.45
GAP_S = 0.15


def _signs(signs: str, cycle_s: float, *, dark_s: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Return the steps of a cycle of flashes.

    Args:
        signs: a dot for each short flash, a dash for each long one.
        cycle_s: how long the cycle lasts; after the flashes it is dark.
        dark_s: how long it is dark before them.
    """
    steps = [(0.0, dark_s)] if dark_s else []
    for sign in signs:
        steps += [(1.0, LONG_S if sign == "-" else SHORT_S), (0.0, GAP_S)]
    rest_s = cycle_s - sum(seconds for _, seconds in steps[:-1])
    return (*steps[:-1], (0.0, round(rest_s, 3)))


# Good news.
STARTING = Pattern("starting", ((1.0, 0.5), (0.0, 0.5)), WHITE, "not ready yet")
STARTED = replace(STARTING, steps=STARTING.steps * 2)
"""Played once where the button opens as soon as the LED: without it the eye would see a mere flash."""

READY = Pattern("ready", ((0.0, 1.0),), BLUE, "press and talk")
LISTENING = Pattern("listening", ((1.0, 1.0),), BLUE, "it records")
WORKING = Pattern("working", ((1.0, 0.1), (0.0, 0.1)), BLUE, "it waits for the text; you may press again")
SHUTTING_DOWN = Pattern("shutting down", ((1.0, 0.4), (0.0, 0.1)), WHITE, "it stops")

# Moments, played once. They begin and end dark, or their flashes would run into the patterns before and after: "kept"
# and "no network" would look like most of "configuration".
DELIVERED = Pattern("delivered", _signs(".-", 1.5, dark_s=0.15), CYAN, "once: the text is out")
KEPT = Pattern("kept", _signs("-.", 1.5, dark_s=0.15), YELLOW, "once: it is kept, and its text comes later")


def of_profile(number: int) -> Pattern:
    """Return what a recording begins with whose profile is the one of this number, from 1: as many short gaps."""
    gaps = ((0.0, GAP_S), (1.0, GAP_S)) * number
    return Pattern(f"profile {number}", ((1.0, LONG_S), *gaps), BLUE, "it records; as many gaps as the profile says")


# Bad news.
NO_BACKEND = Pattern("no backend", _signs(".", 3.0), YELLOW, "none gives a text: what you say is kept for later")
NO_NETWORK = Pattern("no network", _signs("-", 3.0), ORANGE, "no backend is reached: what you say is kept for later")
NO_MICROPHONE = Pattern("no microphone", _signs("..", 2.0), RED, "a press does nothing until there is one")
TROUBLE = Pattern(
    "trouble",
    _signs("...", 3.0),
    RED,
    "the disk does not take audio or text, or the microphone hears nothing or hardly anything; `flowpi status` says "
    "which",
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

DRAWN_S = 3.0
STEP_S = 0.05


def drawing(pattern: Pattern) -> str:
    """Draw `DRAWN_S` seconds as a line, one character for each `STEP_S`: # is lit. A moment is drawn once."""
    length = round(DRAWN_S / STEP_S)
    if len(pattern.steps) == 1:
        return ("#" if pattern.steps[0][0] else ".") * length
    signs = "".join(("#" if brightness else ".") * round(seconds / STEP_S) for brightness, seconds in pattern.steps)
    return signs.ljust(length, ".") if pattern in MOMENTS else (signs * length)[:length]
