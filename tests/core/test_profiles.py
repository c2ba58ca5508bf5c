"""Which profile a gesture chooses. Edges go through the gestures and the table, as in the conductor."""

import heapq
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from flowpi.appliance import factory
from flowpi.config.schema import ButtonSettings, Config
from flowpi.core.appliance import Finishing, Idle, Recording, State, step
from flowpi.core.events import (
    ButtonPressed,
    ButtonReleased,
    ChooseProfile,
    DeadlinePassed,
    DoubleTapped,
    DropUtterance,
    Event,
    LongPressed,
    StartCommanded,
    StartRecording,
    StopCommanded,
    StopRecording,
    TextDelivered,
)
from flowpi.core.gestures import Gesture, GestureKind, Gestures
from flowpi.core.indicator import moment
from flowpi.core.lights import of_profile
from flowpi.core.profiles import GestureProfiles

HOLD, TAP, DOUBLE = "german", "code", "letter"
NAMES = (HOLD, TAP, DOUBLE)


class Said(Struct):
    """An utterance as the table had it recorded."""

    began_at: float
    profile: str | None
    chosen_at: float | None
    ended_at: float | None = None
    dropped: bool = False


class Desk:
    """A button and the table, in a time of their own.

    Attributes:
        said: the utterances in order.
        lit: what the LED showed once, with the time.
    """

    def __init__(self, **button: Any) -> None:
        self.config = Config(button=ButtonSettings(**button))
        self.said: dict[str, Said] = {}
        self.lit: list[tuple[float, str]] = []
        self.state: State = Idle(0.0)
        self._rules = factory.rules(self.config)
        self._gestures: Gestures = factory.gestures(self.config)[None]

    def run(self, edges: Iterable[tuple[float, bool]], until: float = 60.0) -> "Desk":
        todo = [*edges, (until, None)]
        heapq.heapify(todo)
        for at, pressed in sorted(todo, key=lambda edge: edge[0]):
            while (
                due := min((d for d in (self._gestures.next_deadline(), self.state.deadline) if d), default=at)
            ) < at:
                if due == self._gestures.next_deadline():
                    self._perform(self._gestures.handle_deadline(due))
                else:
                    self.post(DeadlinePassed(), due)
            if pressed is not None:
                self._perform(self._gestures.edge(pressed, at))
        return self

    def _perform(self, gestures: list[Gesture]) -> None:
        for gesture in gestures:
            match gesture.kind:
                case GestureKind.PRESSED:
                    self.post(ButtonPressed(f"U{len(self.said)}", gesture.again), gesture.at)
                case GestureKind.RELEASED:
                    self.post(ButtonReleased(gesture.tap), gesture.at)
                case GestureKind.DOUBLE:
                    self.post(DoubleTapped(), gesture.at)
                case GestureKind.LONG:
                    self.post(LongPressed(), gesture.at)
                case _:
                    pass

    def post(self, event: Event, at: float) -> None:
        before = self.state
        self.state, effects = step(before, event, at, self._rules)
        shown = moment(before, event, self.state, NAMES)
        if shown is not None and isinstance(self.state, Recording):
            self.lit.append((at, shown.name))
        for effect in effects:
            match effect:
                case StartRecording(utterance, profile, choosing):
                    self.said[utterance] = Said(at, profile, None if choosing else at)
                case ChooseProfile(utterance, profile, choosing):
                    assert self.said[utterance].chosen_at is None
                    self.said[utterance].profile = profile
                    self.said[utterance].chosen_at = None if choosing else at
                case StopRecording(utterance):
                    self.said[utterance].ended_at = at
                    self.post(TextDelivered(utterance), at)
                case DropUtterance(utterance):
                    self.said[utterance].dropped = True
                case _:
                    pass

    @property
    def only(self) -> Said:
        (one,) = self.said.values()
        return one


def clicks(*pairs: tuple[float, float]) -> list[tuple[float, bool]]:
    """Return the edges of presses: when each begins and ends."""
    return [(at, pressed) for begin, end in pairs for at, pressed in ((begin, True), (end, False))]


ALL = GestureProfiles(hold=HOLD, tap=TAP, double=DOUBLE)


@pytest.mark.parametrize(
    ("mode", "presses", "profile", "began_at", "ended_at"),
    [
        ("auto", [(1.0, 3.0)], HOLD, 1.0, 3.0),
        ("auto", [(1.0, 1.1), (4.0, 4.1)], TAP, 1.0, 4.0),
        ("auto", [(1.0, 1.1), (1.3, 1.4), (4.0, 4.1)], DOUBLE, 1.0, 4.0),
        ("auto", [(1.0, 1.1), (1.3, 5.0)], DOUBLE, 1.0, 5.0),
        ("hold", [(1.0, 3.0)], HOLD, 1.0, 3.0),
        ("hold", [(1.0, 1.1)], HOLD, 1.0, 1.4),
        ("hold", [(1.0, 1.1), (1.3, 5.0)], DOUBLE, 1.0, 5.0),
        ("hold", [(1.0, 1.1), (1.3, 1.4)], DOUBLE, 1.0, 1.4),
        ("toggle", [(1.0, 1.1), (4.0, 4.1)], TAP, 1.0, 4.0),
        ("toggle", [(1.0, 2.0), (4.0, 4.1)], TAP, 1.0, 4.0),
        ("toggle", [(1.0, 1.1), (1.3, 1.4), (4.0, 4.1)], DOUBLE, 1.0, 4.0),
        ("toggle", [(1.0, 1.1), (1.3, 3.0), (4.0, 4.1)], DOUBLE, 1.0, 4.0),
    ],
)
def test_a_gesture_chooses_and_the_recording_has_begun_with_its_first_press(
    mode: str, presses: list[tuple[float, float]], profile: str, began_at: float, ended_at: float
) -> None:
    desk = Desk(mode=mode, profiles=ALL, long_s=0)
    said = desk.run(clicks(*presses)).only
    assert (said.profile, said.began_at, said.dropped) == (profile, began_at, False)
    assert said.ended_at == pytest.approx(ended_at)
    assert said.chosen_at is None or said.chosen_at <= began_at + 0.4


def test_without_a_choice_nothing_is_left_open() -> None:
    desk = Desk(profiles=GestureProfiles(hold=HOLD, tap=HOLD))
    assert desk.run(clicks((1.0, 1.1))).only == Said(1.0, HOLD, 1.0)
    assert Desk().run(clicks((1.0, 1.1))).only == Said(1.0, None, 1.0)


def test_with_a_profile_of_its_own_a_double_tap_cancels_nothing() -> None:
    presses = clicks((1.0, 3.0), (3.2, 3.3), (3.5, 3.6))
    cancelled = [said.dropped for said in Desk().run(presses).said.values()]
    assert any(cancelled)
    desk = Desk(profiles=GestureProfiles(double=DOUBLE), long_s=0)
    assert not any(said.dropped for said in desk.run(presses).said.values())


def test_a_press_after_a_tap_is_for_speech_however_long_it_lasts() -> None:
    desk = Desk(mode="auto", profiles=ALL, long_s=0)
    assert desk.run(clicks((1.0, 1.1), (1.3, 21.3))).only.ended_at == 21.3


def test_another_button_begins_its_own_dictation_while_a_second_tap_is_awaited() -> None:
    desk = Desk(mode="hold", profiles=ALL, long_s=0)
    desk.run(clicks((1.0, 1.1)), until=1.2)
    desk.post(ButtonPressed("other", profile=TAP), 1.2)
    assert [(one.profile, one.ended_at) for one in desk.said.values()] == [(HOLD, 1.2), (TAP, None)]


def test_a_command_names_its_profile_and_no_press_changes_it() -> None:
    desk = Desk(mode="auto", profiles=ALL, long_s=0)
    desk.post(StartCommanded("U", DOUBLE), 1.0)
    assert desk.only == Said(1.0, DOUBLE, 1.0)
    desk.post(StopCommanded(), 2.0)
    assert desk.only.ended_at == 2.0


def test_a_stop_while_it_is_open_leaves_the_profile_that_it_has() -> None:
    desk = Desk(mode="auto", profiles=ALL, long_s=0)
    desk.run([(1.0, True)], until=1.1)
    desk.post(StopCommanded(), 1.1)
    assert (desk.only.profile, desk.only.ended_at) == (HOLD, 1.1)


@pytest.mark.parametrize("mode", ["auto", "hold", "toggle"])
@given(steps=st.lists(st.floats(0.02, 1.5), min_size=2, max_size=24))
def test_whatever_is_pressed_every_press_is_heard_and_no_sound_is_dropped(mode: str, steps: list[float]) -> None:
    desk, at, edges = Desk(mode=mode, profiles=ALL, long_s=0), 1.0, []
    for index, wait_s in enumerate(steps[: len(steps) // 2 * 2]):
        edges.append((at, index % 2 == 0))
        at += wait_s
    desk.run(edges, until=at)
    assert not any(said.dropped for said in desk.said.values())
    assert all(said.profile in NAMES for said in desk.said.values())
    ended = [said.ended_at for said in desk.said.values() if said.ended_at is not None]
    assert len(ended) >= len(desk.said) - 1
    if mode == "hold":  # a press is never outside a recording
        for down, up in zip(edges[::2], edges[1::2], strict=True):
            assert any(
                said.began_at <= down[0] and (said.ended_at is None or said.ended_at >= up[0] - 1e-9)
                for said in desk.said.values()
            )
    assert not isinstance(desk.state, Finishing)


def test_the_led_says_which_once_it_is_known() -> None:
    assert Desk(mode="auto", profiles=ALL, long_s=0).run(clicks((1.0, 3.0)), until=3.5).lit[:1] == [(1.4, "profile 1")]
    desk = Desk(mode="auto", profiles=ALL, long_s=0).run(clicks((1.0, 1.1), (1.3, 1.4)), until=2.0)
    assert desk.lit == [(1.3, "profile 3")]
    assert Desk().run(clicks((1.0, 3.0)), until=2.9).lit == []
    assert Desk(profiles=GestureProfiles(hold="gone", tap="gone")).run(clicks((1.0, 3.0)), until=2.9).lit == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_profile_is_as_many_gaps_in_the_light(number: int) -> None:
    levels = [level for level, _ in of_profile(number).steps]
    assert levels == [1.0, *[0.0, 1.0] * number]
    assert all(seconds >= 0.1 for _, seconds in of_profile(number).steps)
