"""What the typist does with its device, as generators: they yield an effect and receive its result.

Theory of operation. A USB keyboard cannot know whether anybody listens. The kernel keeps a report or two until the
computer fetches them, and nothing takes one back: so a key that goes down while the computer sleeps is typed when it
wakes up, and repeated until it goes up. Hence three procedures:

    ask     before each text: three reports that no key is down, which change nothing on the computer. A controller
            holds two at most, so the third one says whether somebody fetches them.
    type    each moment is held for the time of the pace. At the first report that is not fetched in time it stops for
            good, and owes a release.
    settle  pays the release: as soon as the device takes reports again, until two were taken, as the first may only
            have been kept.

A device of uinput takes everything at once, and needs none of this but the pace; it is asked all the same.
"""

import enum
from bisect import bisect_right
from collections.abc import Generator, Sequence
from itertools import accumulate, chain
from typing import Any, TypeAlias

from msgspec import Struct

from flowpi.core.typing.strokes import IDLE, Stroke, moments

ASKED = 3
ASK_S = 0.2
"""How long each of the reports that ask may take. A computer fetches one in 10 ms at most."""

PATIENCE_S = 0.5
"""How long a report of a text may take: a computer that is busy, and not one that has gone to sleep."""


class Wrote(enum.Enum):
    """What became of a report."""

    TAKEN = "taken"
    FULL = "full"
    """The one before it was not fetched yet."""
    NOBODY = "nobody"
    """No computer is connected, or it has switched the keyboard off."""


class Reason(enum.StrEnum):
    """Why nothing can be typed."""

    NO_HOST = "no_host"
    ASLEEP = "asleep"
    NO_PERMISSION = "no_permission"
    LAYOUT = "layout"


class Write(Struct, frozen=True):
    """Report that these keys are down, and no others. The result: `Wrote`."""

    down: Stroke


class WaitForRoom(Struct, frozen=True):
    """Wait until the device may take a report. The result: the seconds that are left then; 0 if the time is up."""

    seconds: float


class Pause(Struct, frozen=True):
    """Wait for the time of the pace."""


class Ask(Struct, frozen=True):
    """Ask whether to go on, before a character. The result: whether to."""


Effect: TypeAlias = Write | WaitForRoom | Pause | Ask


class Ended(Struct, frozen=True):
    """How the typing of characters ended.

    Attributes:
        characters: how many were typed completely; the last one may still be on its way.
        reason: why no more were, if the device was the cause; None if all were, or it was not to go on.
        owes: whether a key may be down, because the release was not taken.
    """

    characters: int
    reason: Reason | None = None
    owes: bool = False


def ask(patience_s: float = ASK_S) -> Generator[Effect, Any, Reason | None]:
    """Find out whether a computer fetches reports, all of before included, and return why not, or None."""
    for _ in range(ASKED):
        wrote = yield from _put(IDLE, patience_s)
        if wrote is not Wrote.TAKEN:
            return _reason(wrote)
    return None if (yield WaitForRoom(patience_s)) > 0 else Reason.ASLEEP


def type_strokes(characters: Sequence[Sequence[Stroke]]) -> Generator[Effect, Any, Ended]:
    """Type the strokes of characters, but none to a computer that does not fetch them. No key is down at the end, or it
    owes that.

    It is not stopped within a character: the computer would compose a dead key with what is typed next, by whomever,
    and half of a number is the number of another character, such as a control.
    """
    if (reason := (yield from ask())) is not None:
        return Ended(0, reason)
    ends = list(accumulate(map(len, characters)))
    first = {0, *ends}
    done = 0
    for parts in moments(list(chain.from_iterable(characters))):
        if done in first and not (yield Ask()):
            break
        for down in parts:
            wrote = yield from _put(down, PATIENCE_S)
            if wrote is not Wrote.TAKEN:
                return Ended(bisect_right(ends, done), _reason(wrote), owes=True)
            yield Pause()
        done += 1
    # The last stroke has released all; but the controller may still hold that, and the stroke as well.
    if (reason := (yield from ask(PATIENCE_S))) is not None:
        return Ended(bisect_right(ends, done - 1), reason, owes=True)
    return Ended(bisect_right(ends, done))


def settle() -> Generator[Effect, Any, bool]:
    """Release all keys, and return whether a computer has taken that."""
    if (yield from _put(IDLE, 0.0)) is not Wrote.TAKEN:
        return False
    return (yield from _put(IDLE, ASK_S)) is Wrote.TAKEN


def _put(down: Stroke, patience_s: float) -> Generator[Effect, Any, Wrote]:
    """Write a report, and wait for room in the device for some time."""
    left_s = patience_s
    while (wrote := (yield Write(down))) is Wrote.FULL:
        if left_s <= 0:
            return Wrote.FULL
        left_s = yield WaitForRoom(left_s)
    assert isinstance(wrote, Wrote)
    return wrote


def _reason(wrote: Wrote) -> Reason:
    return Reason.ASLEEP if wrote is Wrote.FULL else Reason.NO_HOST
