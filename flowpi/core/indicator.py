"""Chooses the pattern that the LED shows: `light` for a state, `moment` for a step between two. Pure."""

from collections.abc import Sequence
from typing import assert_never

from flowpi.core.appliance import Finishing, Idle, Recording, Starting, State
from flowpi.core.events import DeadlinePassed, DeliveryDeferred, Event, TextDelivered
from flowpi.core.faults import most_visible
from flowpi.core.lights import (
    DELIVERED,
    KEPT,
    LISTENING,
    READY,
    SHUTTING_DOWN,
    STARTING,
    WORKING,
    Pattern,
    of_profile,
)


def light(state: State, *, commands_only: bool = False, stopping: bool = False) -> Pattern:
    """Return the pattern to show now. Faults show only while nothing goes on: what the user does comes first.

    Args:
        commands_only: the button is not open yet.
        stopping: the daemon is shutting down.
    """
    if stopping:
        return SHUTTING_DOWN
    match state:
        case Starting():
            return STARTING
        case Idle() if commands_only:
            return STARTING
        case Recording():
            return LISTENING
        case Finishing():
            return WORKING
        case Idle():
            kind = most_visible(state.faults)
            return kind.pattern if kind else READY
        case _:
            assert_never(state)


def moment(before: State, event: Event, after: State, profiles: Sequence[str] = ()) -> Pattern | None:
    """Return what to show once because of this step.

    That is: which profile a recording has, once that is known; the awaited utterance has its text, or is kept.

    Args:
        profiles: the names of all, in their order.
    """
    if isinstance(after, Recording):
        is_news = not (isinstance(before, Recording) and (before.profile, before.choosing) == (after.profile, False))
        is_known = not after.choosing and after.profile in profiles
        return of_profile(profiles.index(after.profile) + 1) if is_news and is_known and after.profile else None
    if not (isinstance(before, Finishing) and isinstance(after, Idle)):
        return None
    match event:
        case TextDelivered():
            return DELIVERED
        case DeliveryDeferred() | DeadlinePassed():
            return KEPT
        case _:
            return None
