"""The dictation appliance as one table: `step(state, event, now, rules)` gives the next state and the effects.

Theory of operation. The states follow what the user sees:

    Starting --Started--> Idle --press--> Recording --release--> Finishing --text, or kept--> Idle

Recording is the only state in which speech is kept on purpose. A finger holds it (`Grip.HELD`), or it goes on by
itself after a tap or a command (`Grip.LATCHED`). Speech longer than a backend accepts continues in parts, and
`LONGEST_S` ends a recording that somebody forgot. Finishing waits for the text; it never delays the next press, which
starts a new utterance at once while the delivery of the previous one goes on. A long press that was not meant for
speech mutes: the fault `MUTED` stands until another long press clears it. A recording that is going on meanwhile
continues until the release, and is delivered: whoever holds the button decides. A gesture may choose the profile of the
utterance, which has begun by then: while a recording is `choosing`, its profile may change. Every state but Idle has a
deadline, so after a lost release, a dead backend or a bug the appliance returns to Idle when nothing else happens.

All transitions are in this file. `TABLE` lists every pair of state and event, the ignored ones too; a test checks that
none is missing. Microphone, sockets and threads are elsewhere: the driver of the table carries out the effects in order
and calls `step` with `DeadlinePassed` once `state.deadline` has passed.
"""

import enum
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from flowpi.core.events import (
    BeginPart,
    ButtonPressed,
    ButtonReleased,
    CancelCommanded,
    ChooseProfile,
    DeadlinePassed,
    DeliveryDeferred,
    DeliveryGivenUp,
    DoubleTapped,
    DropUtterance,
    Effect,
    Event,
    FaultCleared,
    FaultRaised,
    LongPressed,
    Mute,
    Refuse,
    StartCommanded,
    Started,
    StartRecording,
    StopCommanded,
    StopRecording,
    TellLate,
    TextDelivered,
    ToggleCommanded,
    Unmute,
)
from flowpi.core.faults import MICROPHONE, MUTED, Fault, by_urgency, kind_of
from flowpi.core.rules import Mode, Rules

START_TIMEOUT_S = 30.0
"""Longer than any device needs to open; then the appliance is Idle with whatever faults it has."""

JUST_AFTER_S = 2.0
"""How long after a recording a double tap still cancels it, although its first tap begins a new one."""

LONGEST_S = 4 * 3600.0
"""The length at which a recording must have been forgotten, or its button is stuck."""


class Grip(enum.Enum):
    """What keeps a recording going."""

    HELD = "held"
    AGAIN = "again"
    """Held by a press that follows a tap. Its end decides: speech, the second half of a double tap, or a long press."""
    LATCHED = "latched"
    LATCHING = "latching"
    """About to be latched: in `Mode.TOGGLE`, while the press that began the recording goes on."""
    TAPPED = "tapped"
    """In `Mode.HOLD`, after a tap: a second press may follow, whose profile it has; else it ends."""


class _State(Struct, frozen=True):
    since: float
    faults: tuple[Fault, ...] = ()

    def has_fault(self, code: str) -> bool:
        return any(fault.code == code for fault in self.faults)


class Starting(_State, frozen=True, kw_only=True):
    deadline: float
    name = "starting"


class Idle(_State, frozen=True, kw_only=True):
    deadline: None = None
    name = "idle"


class Recording(_State, frozen=True, kw_only=True):
    """An utterance is being recorded.

    Attributes:
        deadline: when to look for the end of the current part, or while `choosing` when the profile is chosen.
        choosing: whether the gesture may still choose another profile, the present one being `profile`.
        after: the utterances that had just ended when this one began and have no text yet.
        muting: whether to mute at the end.
    """

    utterance: str
    grip: Grip
    deadline: float
    part: int = 1
    after: tuple[str, ...] = ()
    muting: bool = False
    profile: str | None = None
    choosing: bool = False
    name = "recording"


class Finishing(_State, frozen=True, kw_only=True):
    """The text of an utterance is awaited. `after` is that of the recording."""

    utterance: str
    deadline: float
    after: tuple[str, ...] = ()
    name = "finishing"


State = Starting | Idle | Recording | Finishing
Step = tuple[State, tuple[Effect, ...]]
_Ended = TextDelivered | DeliveryDeferred | DeliveryGivenUp


def start(now: float) -> Starting:
    """Return the first state."""
    return Starting(now, deadline=now + START_TIMEOUT_S)


def step(state: State, event: Event, now: float, rules: Rules) -> Step:
    """Return the next state, and the effects to carry out in order.

    Args:
        now: when the event happened, not when it is handled; seconds of a monotonic clock.
    """
    return TABLE[type(state), type(event)](state, event, now, rules)


def _ignore(state: Any, event: Any, now: float, rules: Rules) -> Step:
    return state, ()


def _idle(state: Any, event: Any, now: float, rules: Rules) -> Step:
    return Idle(now, state.faults), ()


def _refuse_starting(state: Starting, event: Any, now: float, rules: Rules) -> Step:
    return state, (Refuse("starting", "still starting: try again in a moment"),)


def _begin(grip: Grip) -> Callable[[Any, Any, float, Rules], Step]:
    def begin(state: Idle | Finishing, event: Any, now: float, rules: Rules) -> Step:
        for fault in by_urgency(state.faults)[:1]:
            if not kind_of(fault.code).accepts_presses:
                return state, (Refuse(fault.code, fault.message),)
        profile, choosing = _profile(event, rules)
        recording = Recording(
            now,
            state.faults,
            utterance=event.utterance,
            grip=_of_press(event, rules) if grip is Grip.HELD else grip,
            deadline=now + (rules.choose_s if choosing else rules.max_utterance_s - rules.pause_s),
            after=_just_before(state, event, now),
            profile=profile,
            choosing=choosing,
        )
        return recording, (StartRecording(event.utterance, profile, choosing),)

    return begin


def _profile(event: Any, rules: Rules) -> tuple[str | None, bool]:
    """Return the profile that an event begins with, and whether its gesture may still choose another one."""
    if not isinstance(event, ButtonPressed) or event.profile is not None:
        return event.profile, False
    if event.again and rules.profiles.double is not None:
        return rules.profiles.double, False
    return (rules.profiles.tap if rules.mode is Mode.TOGGLE else rules.profiles.hold), rules.choose_s > 0


def _start_again(state: Recording, event: StartCommanded, now: float, rules: Rules) -> Step:
    """Change nothing; but nobody may take what is being said for a dictation with a profile that it does not have."""
    if event.profile in (None, state.profile):
        return state, ()
    return state, (Refuse("recording", "a dictation without this profile is being recorded: end it first"),)


def _choose(state: Recording, rules: Rules, profile: str | None, grip: Grip, *, choosing: bool = False) -> Step:
    deadline = state.deadline if choosing else state.since + rules.max_utterance_s - rules.pause_s
    chosen = replace(state, profile=profile, grip=grip, choosing=choosing, deadline=deadline)
    return chosen, (ChooseProfile(state.utterance, profile, choosing),)


def _of_press(event: ButtonPressed, rules: Rules) -> Grip:
    if rules.mode is Mode.TOGGLE:
        return Grip.LATCHING
    # A press after a tap may be half of what cancels or mutes, unless it chooses a profile: then it is for speech.
    return Grip.AGAIN if event.again and rules.profiles.double is None else Grip.HELD


def _just_before(state: Idle | Finishing, event: Any, now: float) -> tuple[str, ...]:
    """Return the utterances that a double tap cancels besides the new one: those that ended a moment ago."""
    if isinstance(state, Idle) or now - state.since > JUST_AFTER_S:
        return ()
    again = isinstance(event, ButtonPressed) and event.again
    return (state.utterance, *state.after) if again else (state.utterance,)


def _press(state: Recording, event: ButtonPressed, now: float, rules: Rules) -> Step:
    """End a recording: a latched one unless a tap latched it a moment ago, a held one because its release was lost."""
    if event.again and state.choosing and rules.profiles.double is not None and event.profile is None:
        return _choose(state, rules, rules.profiles.double, _of_press(event, rules))
    if event.again and state.grip is Grip.LATCHED and rules.mode is Mode.AUTO:
        return replace(state, grip=Grip.AGAIN), ()
    if state.grip is Grip.TAPPED:  # another button: it would end what has ended
        ended, stopped = _end(state, event, now, rules)
        begun, started = _hold(ended, event, now, rules)
        return begun, stopped + started
    return _end(state, event, now, rules)


def _end(state: Recording, event: Any, now: float, rules: Rules) -> Step:
    finishing = Finishing(
        now, state.faults, utterance=state.utterance, deadline=now + rules.finish_timeout_s, after=state.after
    )
    return _muted(state, finishing, StopRecording(state.utterance), now, rules)


def _muted(state: Recording, ended: Idle | Finishing, effect: Effect, now: float, rules: Rules) -> Step:
    """End a recording, and mute if a long press asked for that meanwhile."""
    if not state.muting:
        return ended, (effect,)
    muted, effects = _mute(ended, LongPressed(), now, rules)
    return muted, (effect, *effects)


def _release(state: Recording, event: ButtonReleased, now: float, rules: Rules) -> Step:
    if state.grip is Grip.LATCHED:
        return state, ()
    if state.muting:
        return _end(state, event, now, rules)
    doubles = rules.profiles.double is not None
    if state.choosing and event.tap and rules.mode is Mode.AUTO:
        return _choose(state, rules, rules.profiles.tap, Grip.LATCHED, choosing=doubles)
    if state.choosing and event.tap and rules.mode is Mode.HOLD:
        return replace(state, grip=Grip.TAPPED), ()
    if state.grip is Grip.LATCHING or (event.tap and rules.mode is Mode.AUTO):
        return replace(state, grip=Grip.LATCHED), ()
    return _end(state, event, now, rules)


def _begin_part(state: Recording, event: DeadlinePassed, now: float, rules: Rules) -> Step:
    if state.choosing:
        ended = state.grip is Grip.TAPPED
        return _end(state, event, now, rules) if ended else _choose(state, rules, state.profile, state.grip)
    if now - state.since >= LONGEST_S:
        return _end(state, event, now, rules)
    going_on = replace(state, part=state.part + 1, deadline=now + rules.max_utterance_s - rules.pause_s)
    return going_on, (BeginPart(state.utterance, going_on.part, by=now + rules.pause_s),)


def _wait_no_more(state: Finishing, event: DeadlinePassed, now: float, rules: Rules) -> Step:
    return Idle(now, state.faults), (TellLate(state.utterance),)


def _cancel_recording(state: Recording, event: Any, now: float, rules: Rules) -> Step:
    return _muted(state, Idle(now, state.faults), DropUtterance(state.utterance), now, rules)


def _cancel(state: Finishing, event: Any, now: float, rules: Rules) -> Step:
    return Idle(now, state.faults), (DropUtterance(state.utterance),)


def _cancel_all(state: Recording | Finishing, event: DoubleTapped, now: float, rules: Rules) -> Step:
    """Cancel what a double tap recorded, and the utterances just before, unless it began the recording."""
    if rules.profiles.double is not None:
        return state, ()
    return Idle(now, state.faults), tuple(map(DropUtterance, (state.utterance, *state.after)))


def _mute(state: Idle | Finishing, event: LongPressed, now: float, rules: Rules) -> Step:
    if state.has_fault(MUTED):
        heard, _ = _clear_fault(state, FaultCleared(MUTED), now, rules)
        return heard, (Unmute(),)
    message = f"the microphone is muted: hold the button for {rules.long_s:g} s, or restart flowpi, to unmute it"
    muted, _ = _raise_fault(state, FaultRaised(MUTED, message), now, rules)
    return muted, (Mute(),)


def _mute_recording(state: Recording, event: LongPressed, now: float, rules: Rules) -> Step:
    """Mute at the end, unless the press is for speech, or did nothing because a command's recording goes on."""
    return (replace(state, muting=True) if state.grip in (Grip.AGAIN, Grip.LATCHING) else state), ()


def _one_before_done(state: Recording, event: _Ended, now: float, rules: Rules) -> Step:
    return replace(state, after=tuple(each for each in state.after if each != event.utterance)), ()


def _done(state: Finishing, event: _Ended, now: float, rules: Rules) -> Step:
    if event.utterance == state.utterance:
        return Idle(now, state.faults), ()
    return replace(state, after=tuple(each for each in state.after if each != event.utterance)), ()


def _raise_fault(state: Any, event: FaultRaised, now: float, rules: Rules) -> Step:
    since = next((fault.since for fault in state.faults if fault.code == event.code), now)
    others = tuple(fault for fault in state.faults if fault.code != event.code)
    return replace(state, faults=(*others, Fault(event.code, event.message, since))), ()


def _raise_fault_recording(state: Recording, event: FaultRaised, now: float, rules: Rules) -> Step:
    faulty, _ = _raise_fault(state, event, now, rules)
    if event.code == MICROPHONE:  # nothing more will be heard: deliver what was said
        assert isinstance(faulty, Recording)
        return _end(faulty, event, now, rules)
    return faulty, ()


def _clear_fault(state: Any, event: FaultCleared, now: float, rules: Rules) -> Step:
    return replace(state, faults=tuple(fault for fault in state.faults if fault.code != event.code)), ()


_hold, _latch = _begin(Grip.HELD), _begin(Grip.LATCHED)

TABLE: dict[tuple[type[Any], type[Any]], Callable[[Any, Any, float, Rules], Step]] = {
    (Starting, Started): _idle,
    (Starting, ButtonPressed): _refuse_starting,
    (Starting, ButtonReleased): _ignore,
    (Starting, DoubleTapped): _ignore,
    (Starting, LongPressed): _ignore,
    (Starting, StartCommanded): _refuse_starting,
    (Starting, StopCommanded): _ignore,
    (Starting, ToggleCommanded): _refuse_starting,
    (Starting, CancelCommanded): _ignore,
    (Starting, TextDelivered): _ignore,
    (Starting, DeliveryDeferred): _ignore,
    (Starting, DeliveryGivenUp): _ignore,
    (Starting, FaultRaised): _raise_fault,
    (Starting, FaultCleared): _clear_fault,
    (Starting, DeadlinePassed): _idle,
    #
    (Idle, Started): _ignore,
    (Idle, ButtonPressed): _hold,
    (Idle, ButtonReleased): _ignore,  # of a press that ended otherwise: cancelled, or forgotten
    (Idle, DoubleTapped): _ignore,
    (Idle, LongPressed): _mute,
    (Idle, StartCommanded): _latch,
    (Idle, StopCommanded): _ignore,
    (Idle, ToggleCommanded): _latch,
    (Idle, CancelCommanded): _ignore,
    (Idle, TextDelivered): _ignore,  # of an older utterance
    (Idle, DeliveryDeferred): _ignore,
    (Idle, DeliveryGivenUp): _ignore,
    (Idle, FaultRaised): _raise_fault,
    (Idle, FaultCleared): _clear_fault,
    (Idle, DeadlinePassed): _ignore,
    #
    (Recording, Started): _ignore,
    (Recording, ButtonPressed): _press,
    (Recording, ButtonReleased): _release,
    (Recording, DoubleTapped): _cancel_all,
    (Recording, LongPressed): _mute_recording,
    (Recording, StartCommanded): _start_again,
    (Recording, StopCommanded): _end,
    (Recording, ToggleCommanded): _end,
    (Recording, CancelCommanded): _cancel_recording,
    (Recording, TextDelivered): _one_before_done,
    (Recording, DeliveryDeferred): _one_before_done,
    (Recording, DeliveryGivenUp): _one_before_done,
    (Recording, FaultRaised): _raise_fault_recording,
    (Recording, FaultCleared): _clear_fault,
    (Recording, DeadlinePassed): _begin_part,
    #
    (Finishing, Started): _ignore,
    (Finishing, ButtonPressed): _hold,
    (Finishing, ButtonReleased): _ignore,
    (Finishing, DoubleTapped): _cancel_all,
    (Finishing, LongPressed): _mute,
    (Finishing, StartCommanded): _latch,
    (Finishing, StopCommanded): _ignore,
    (Finishing, ToggleCommanded): _latch,
    (Finishing, CancelCommanded): _cancel,
    (Finishing, TextDelivered): _done,
    (Finishing, DeliveryDeferred): _done,
    (Finishing, DeliveryGivenUp): _done,
    (Finishing, FaultRaised): _raise_fault,
    (Finishing, FaultCleared): _clear_fault,
    (Finishing, DeadlinePassed): _wait_no_more,
}
