"""The table of the appliance: it is complete, correct and never stuck."""

from collections.abc import Callable
from functools import partial
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.appliance import (
    JUST_AFTER_S,
    LONGEST_S,
    TABLE,
    Finishing,
    Grip,
    Idle,
    Recording,
    Starting,
    State,
    start,
    step,
)
from flowpi.core.events import (
    BeginPart,
    ButtonPressed,
    ButtonReleased,
    CancelCommanded,
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
from flowpi.core.faults import MICROPHONE, MUTED, SPOOL
from flowpi.core.indicator import light
from flowpi.core.lights import LISTENING
from flowpi.core.rules import Mode, Rules

STATES = (Starting, Idle, Recording, Finishing)
RULES = Rules()


def play(*events: Event, rules: Rules = RULES) -> tuple[State, list[Effect]]:
    """Run events from Idle, a second apart."""
    state: State = Idle(0.0)
    effects: list[Effect] = []
    for now, event in enumerate(events, 1):
        state, more = step(state, event, float(now), rules)
        effects += more
    return state, effects


def test_every_pair_of_state_and_event_is_named() -> None:
    assert set(TABLE) == {(state, event) for state in STATES for event in get_args(Event)}


def test_hold_to_talk() -> None:
    state, effects = play(ButtonPressed("A"), ButtonReleased(tap=False))
    assert isinstance(state, Finishing)
    assert effects == [StartRecording("A"), StopRecording("A")]


def test_a_tap_latches_and_the_next_press_ends() -> None:
    state, _ = play(ButtonPressed("A"), ButtonReleased(tap=True))
    assert isinstance(state, Recording)
    assert state.grip is Grip.LATCHED
    state, effects = play(ButtonPressed("A"), ButtonReleased(tap=True), ButtonPressed("B"))
    assert isinstance(state, Finishing)
    assert effects == [StartRecording("A"), StopRecording("A")]


def test_in_hold_mode_a_tap_is_a_short_recording() -> None:
    _, effects = play(ButtonPressed("A"), ButtonReleased(tap=True), rules=Rules(Mode.HOLD))
    assert effects == [StartRecording("A"), StopRecording("A")]


def test_in_toggle_mode_only_presses_count() -> None:
    state, _ = play(ButtonPressed("A"), ButtonReleased(tap=False), rules=Rules(Mode.TOGGLE))
    assert isinstance(state, Recording)


def tap(utterance: str, *, again: bool = False) -> tuple[Event, Event]:
    return ButtonPressed(utterance, again), ButtonReleased(tap=True)


def double_tap(first: str, second: str) -> list[Event]:
    return [*tap(first), *tap(second, again=True), DoubleTapped()]


@pytest.mark.parametrize("mode", Mode)
def test_a_double_tap_cancels_what_it_began(mode: Mode) -> None:
    state, effects = play(*double_tap("A", "B"), rules=Rules(mode))
    assert isinstance(state, Idle)
    begun = {effect.utterance for effect in effects if isinstance(effect, StartRecording)}
    assert {effect.utterance for effect in effects if isinstance(effect, DropUtterance)} == begun


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.HOLD])
def test_a_double_tap_just_after_a_recording_cancels_that_too(mode: Mode) -> None:
    _, effects = play(ButtonPressed("A"), ButtonReleased(tap=False), *double_tap("B", "C"), rules=Rules(mode))
    assert DropUtterance("A") in effects


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.HOLD])
def test_speech_that_follows_a_tap_at_once_is_kept(mode: Mode) -> None:
    state, effects = play(*tap("A"), ButtonPressed("B", again=True), ButtonReleased(tap=False), rules=Rules(mode))
    assert isinstance(state, Finishing)
    assert not any(isinstance(effect, DropUtterance) for effect in effects)
    assert isinstance(effects[-1], StopRecording)


def test_a_double_tap_long_after_a_recording_does_not_reach_back() -> None:
    state, _ = play(ButtonPressed("A"), ButtonReleased(tap=False))
    later = state.since + JUST_AFTER_S + 0.1
    state, _ = step(state, ButtonPressed("B"), later, RULES)
    _, effects = step(state, DoubleTapped(), later + 0.3, RULES)
    assert effects == (DropUtterance("B"),)


def test_a_text_that_is_out_already_is_not_cancelled() -> None:
    _, effects = play(
        ButtonPressed("A"), ButtonReleased(tap=False), ButtonPressed("B"), TextDelivered("A"), DoubleTapped()
    )
    assert effects[-1:] == [DropUtterance("B")]


def test_the_next_press_does_not_wait_for_the_text() -> None:
    state, effects = play(ButtonPressed("A"), ButtonReleased(tap=False), ButtonPressed("B"))
    assert isinstance(state, Recording)
    assert state.after == ("A",)
    assert effects[-1] == StartRecording("B")


@pytest.mark.parametrize("length_s", [5.0, 330.0, 3600.0])
@pytest.mark.parametrize("cut", ["at once", "at the last moment"])
def test_long_speech_goes_on_in_parts_none_longer_than_the_limit(length_s: float, cut: str) -> None:
    rules = Rules(max_utterance_s=length_s)
    state, _ = step(Idle(0.0), ButtonPressed("A"), 10.0, rules)
    began = 10.0
    for part in range(2, 5):
        assert isinstance(state, Recording)
        now = state.deadline
        state, effects = step(state, DeadlinePassed(), now, rules)
        (effect,) = effects
        assert isinstance(effect, BeginPart)
        assert (effect.utterance, effect.part) == ("A", part)
        ends = now if cut == "at once" else effect.by
        assert now < effect.by
        assert length_s / 2 < ends - began <= length_s
        began = ends
    _, effects = step(state, ButtonReleased(tap=False), now + 1.0, rules)
    assert effects == (StopRecording("A"),)


def test_a_stuck_button_ends_at_last() -> None:
    state, _ = step(Idle(0.0), ButtonPressed("A"), 0.0, RULES)
    effects: tuple[Effect, ...] = ()
    while StopRecording("A") not in effects:
        assert state.deadline is not None
        assert state.deadline <= LONGEST_S + RULES.max_utterance_s
        now = state.deadline
        state, effects = step(state, DeadlinePassed(), now, RULES)
    assert now >= LONGEST_S
    _, effects = step(state, ButtonReleased(tap=False), now + 1.0, RULES)
    assert effects == ()


def test_a_text_that_does_not_come_is_said_to_come_later() -> None:
    _, effects = play(ButtonPressed("A"), ButtonReleased(tap=False), DeadlinePassed())
    assert effects[-1] == TellLate("A")


def test_a_dead_microphone_refuses_and_says_why() -> None:
    state, effects = play(FaultRaised(MICROPHONE, "unplugged"), StartCommanded("A"))
    assert isinstance(state, Idle)
    assert effects == [Refuse(MICROPHONE, "unplugged")]


def test_a_microphone_lost_while_recording_keeps_what_was_said() -> None:
    state, effects = play(StartCommanded("A"), FaultRaised(MICROPHONE, "unplugged"))
    assert isinstance(state, Finishing)
    assert effects == [StartRecording("A"), StopRecording("A")]


def test_a_long_press_mutes_and_the_next_one_unmutes() -> None:
    state, effects = play(LongPressed())
    assert isinstance(state, Idle)
    assert state.has_fault(MUTED)
    assert effects == [Mute()]
    state, effects = play(LongPressed(), LongPressed())
    assert not state.has_fault(MUTED)
    assert effects == [Mute(), Unmute()]


@pytest.mark.parametrize("begin", [ButtonPressed, StartCommanded, ToggleCommanded])
def test_muted_nothing_is_recorded_and_the_refusal_says_how_to_end_that(
    begin: type[ButtonPressed | StartCommanded | ToggleCommanded],
) -> None:
    state, effects = play(LongPressed(), FaultRaised(MICROPHONE, "gone"), begin("A"), rules=Rules(long_s=5))
    assert isinstance(state, Idle)
    message = "the microphone is muted: hold the button for 5 s, or restart flowpi, to unmute it"
    assert effects[1:] == [Refuse(MUTED, message)]


def test_a_press_that_is_spoken_into_never_mutes() -> None:
    state, effects = play(ButtonPressed("A"), LongPressed(), ButtonReleased(tap=False))
    assert isinstance(state, Finishing)
    assert effects == [StartRecording("A"), StopRecording("A")]


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.HOLD])
def test_a_long_press_after_a_tap_mutes_at_its_release_and_what_was_said_is_delivered(mode: Mode) -> None:
    happened = (*tap("A"), ButtonPressed("B", again=True), LongPressed())
    state, effects = play(*happened, rules=Rules(mode))
    assert isinstance(state, Recording)
    state, effects = play(*happened, ButtonReleased(tap=False), rules=Rules(mode))
    assert isinstance(state, Finishing)
    assert state.has_fault(MUTED)
    assert effects[-2:] == [StopRecording(state.utterance), Mute()]


@pytest.mark.parametrize("end", [CancelCommanded(), StopCommanded(), FaultRaised(MICROPHONE, "gone")])
def test_a_mute_that_waits_for_the_end_of_a_recording_comes_with_any_end(end: Event) -> None:
    state, effects = play(*tap("A"), ButtonPressed("B", again=True), LongPressed(), end)
    assert state.has_fault(MUTED)
    assert effects[-1] == Mute()


def test_a_long_press_costs_a_commands_recording_nothing() -> None:
    state, effects = play(StartCommanded("A"), LongPressed())
    assert isinstance(state, Recording)
    assert effects == [StartRecording("A")]


def test_in_toggle_mode_a_long_press_mutes_at_its_release() -> None:
    state, effects = play(ButtonPressed("A"), LongPressed(), ButtonReleased(tap=False), rules=Rules(Mode.TOGGLE))
    assert isinstance(state, Finishing)
    assert effects == [StartRecording("A"), StopRecording("A"), Mute()]


def test_in_toggle_mode_a_long_press_that_ended_a_recording_lets_it_go_its_way() -> None:
    happened = (ButtonPressed("A"), ButtonReleased(tap=False), ButtonPressed("B"), LongPressed())
    state, effects = play(*happened, rules=Rules(Mode.TOGGLE))
    assert isinstance(state, Finishing)
    assert state.has_fault(MUTED)
    assert effects == [StartRecording("A"), StopRecording("A"), Mute()]


@pytest.mark.parametrize("end", [TextDelivered("A"), DeliveryDeferred("A"), DeliveryGivenUp("A")])
def test_one_way_or_the_other_the_wait_ends(end: Event) -> None:
    state, _ = play(ButtonPressed("A"), ButtonReleased(tap=False), end)
    assert isinstance(state, Idle)


def test_commands_are_idempotent() -> None:
    assert play(StopCommanded(), CancelCommanded())[1] == []
    assert play(StartCommanded("A"), StartCommanded("B"))[1] == [StartRecording("A")]


def test_a_fault_keeps_its_first_time_and_takes_the_newest_words() -> None:
    state, _ = play(FaultRaised("backend", "a"), FaultRaised("backend", "b"))
    assert [(fault.message, fault.since) for fault in state.faults] == [("b", 1.0)]


ids = st.sampled_from("ABC")
codes = st.sampled_from([MICROPHONE, "backend", SPOOL])
events = st.one_of(
    st.just(Started()),
    st.builds(ButtonReleased, st.booleans()),
    st.just(DoubleTapped()),
    st.just(LongPressed()),
    st.just(StopCommanded()),
    st.just(CancelCommanded()),
    st.builds(TextDelivered, ids),
    st.builds(DeliveryDeferred, ids),
    st.builds(DeliveryGivenUp, ids),
    st.builds(FaultRaised, codes, st.just("x")),
    st.builds(FaultCleared, codes),
    st.just(DeadlinePassed()),
    st.sampled_from([ButtonPressed, partial(ButtonPressed, again=True), StartCommanded, ToggleCommanded]),
)


@given(st.lists(events, max_size=60), st.sampled_from(Mode))
def test_every_dictation_ends_exactly_once_and_the_light_never_lies(
    happenings: list[Event | Callable[[str], Event]], mode: Mode
) -> None:
    rules = Rules(mode)
    state: State = start(0.0)
    kept: set[str] = set()
    begun: list[str] = []
    ended: list[str] = []
    muted = False
    for now, happening in enumerate(happenings):
        event = happening(f"U{now}") if callable(happening) else happening
        state, effects = step(state, event, float(now), rules)
        for effect in effects:
            match effect:
                case StartRecording(utterance):
                    begun.append(utterance)
                    kept.add(utterance)
                case StopRecording(utterance) | DropUtterance(utterance) if utterance in kept:
                    ended.append(utterance)
                    kept.remove(utterance)
                case StopRecording(utterance):
                    pytest.fail(f"{utterance} stopped twice")
                case Mute() | Unmute():
                    assert isinstance(effect, Mute) is not muted
                    muted = not muted
                case _:
                    pass
        assert (light(state) is LISTENING) == bool(kept)
        assert isinstance(state, Recording) == bool(kept)
        assert len(kept) <= 1
        assert state.has_fault(MUTED) == muted
        assert not (muted and kept)
    assert len(set(begun)) == len(begun)
    quiet = 0.0
    while not isinstance(state, Idle):
        quiet += 1
        assert quiet < 100, f"stuck in {state}"
        assert state.deadline is not None
        state, effects = step(state, DeadlinePassed(), state.deadline, rules)
        ended += [effect.utterance for effect in effects if isinstance(effect, StopRecording)]
    assert ended == begun
