"""The procedures of the typist without a loop: what is written in which case, and what is reported of it."""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from flowpi.core.typing.strokes import IDLE, Modifiers, Stroke
from flowpi.keyboard.procedure import (
    ASK_S,
    PATIENCE_S,
    Ask,
    Effect,
    Ended,
    Pause,
    Reason,
    WaitForRoom,
    Write,
    Wrote,
    ask,
    settle,
    type_strokes,
)
from tests.keyboard.scripted_keyboard import CAPITAL_C, A, B

ASKING = [Write(IDLE)] * 3


class Played:
    """A procedure that was carried out: what it did, and what it returned."""

    def __init__(
        self,
        procedure: Generator[Effect, Any, Any],
        write: Callable[[int], Wrote] = lambda number: Wrote.TAKEN,
        room: Callable[[float], float] = lambda seconds: seconds,
        go_on: Callable[[int], bool] = lambda number: True,
    ) -> None:
        self.effects: list[Effect] = []
        result: Any = None
        while True:
            try:
                effect = procedure.send(result)
            except StopIteration as ended:
                self.returned = ended.value
                return
            self.effects.append(effect)
            match effect:
                case Write():
                    result = write(self.count(Write))
                case WaitForRoom(seconds):
                    result = room(seconds)
                case Ask():
                    result = go_on(self.count(Ask))
                case Pause():
                    result = None

    def count(self, kind: type[Any]) -> int:
        return sum(isinstance(one, kind) for one in self.effects)

    @property
    def writes(self) -> list[Effect]:
        return [one for one in self.effects if isinstance(one, Write)]


def refuse_from(number: int, how: Wrote) -> Callable[[int], Wrote]:
    return lambda count: how if count >= number else Wrote.TAKEN


def test_each_moment_of_a_stroke_is_held_for_the_pace() -> None:
    played = Played(type_strokes([[A], [CAPITAL_C]]))
    shift = Stroke(0, Modifiers.SHIFT)
    typing = [A, IDLE, shift, CAPITAL_C, shift, IDLE]
    assert played.writes == [*ASKING, *map(Write, typing), *ASKING]
    assert played.count(Pause) == len(typing)
    for before, after in zip(played.effects[4:-5], played.effects[5:-4], strict=True):
        assert not (isinstance(before, Write) and isinstance(after, Write)), "two changes without a pause"
    assert played.returned == Ended(2)


@pytest.mark.parametrize(("how", "reason"), [(Wrote.FULL, Reason.ASLEEP), (Wrote.NOBODY, Reason.NO_HOST)])
@pytest.mark.parametrize("report", [1, 2, 3])
def test_a_computer_that_fetches_nothing_gets_no_key(report: int, how: Wrote, reason: Reason) -> None:
    played = Played(type_strokes([[A]]), refuse_from(report, how), room=lambda seconds: 0.0)
    assert set(played.writes) == {Write(IDLE)}
    assert played.returned == Ended(0, reason)


def test_three_reports_that_the_controller_holds_are_no_answer() -> None:
    played = Played(ask(), room=lambda seconds: 0.0)
    assert played.returned is Reason.ASLEEP
    assert played.effects[-1] == WaitForRoom(ASK_S)


def test_it_stops_for_good_at_the_first_report_that_is_not_fetched_and_owes_a_release() -> None:
    played = Played(type_strokes([[A], [B]]), refuse_from(7, Wrote.FULL), lambda seconds: float(seconds == ASK_S))
    assert played.writes[-3:] == [Write(B), Write(IDLE), Write(IDLE)]  # the second try is the last
    assert played.returned == Ended(1, Reason.ASLEEP, owes=True)


def test_a_report_has_its_patience_once_however_often_there_seems_to_be_room() -> None:
    waits: list[float] = []

    def room(seconds: float) -> float:
        waits.append(seconds)
        return max(0.0, seconds - 0.15)

    # 3 reports to ask, then the first key.
    played = Played(type_strokes([[A]]), refuse_from(4, Wrote.FULL), room)
    assert waits[1:] == pytest.approx([PATIENCE_S - 0.15 * tries for tries in range(4)])
    assert played.returned.owes


def test_it_goes_on_where_a_busy_computer_made_room_again() -> None:
    refused = iter([Wrote.TAKEN] * 4 + [Wrote.FULL] * 3)
    played = Played(type_strokes([[A]]), lambda number: next(refused, Wrote.TAKEN))
    assert played.returned == Ended(1)
    assert Write(A) in played.writes


def test_a_last_stroke_that_the_controller_may_still_hold_is_not_typed_for_certain() -> None:
    played = Played(type_strokes([[A], [B]]), refuse_from(10, Wrote.FULL), room=lambda seconds: float(seconds == ASK_S))
    assert played.returned == Ended(1, Reason.ASLEEP, owes=True)


def test_told_to_stop_it_ends_before_the_next_stroke_with_no_key_down() -> None:
    played = Played(type_strokes([[CAPITAL_C], [CAPITAL_C], [A]]), go_on=lambda number: number < 2)
    assert [one for one in played.writes if one == Write(CAPITAL_C)] == [Write(CAPITAL_C)]
    assert played.writes[-1] == Write(IDLE)
    assert played.returned == Ended(1)


def test_told_to_stop_it_completes_the_character() -> None:
    """A dead key would be composed with what is typed next; half of a number is another character."""
    played = Played(type_strokes([[A, B, B], [A]]), go_on=lambda number: number < 2)
    assert [one.down for one in played.writes if isinstance(one, Write) and one.down.keycode] == [A, B, B]
    assert played.writes[-1] == Write(IDLE)
    assert played.returned == Ended(1)


def test_a_character_that_is_typed_in_part_does_not_count() -> None:
    played = Played(type_strokes([[A], [A, B]]), refuse_from(8, Wrote.NOBODY))
    assert played.returned == Ended(1, Reason.NO_HOST, owes=True)


@pytest.mark.parametrize(("refused", "settled"), [(1, False), (2, False), (3, True)], ids=["first", "second", "none"])
def test_a_release_counts_only_when_two_were_taken(refused: int, settled: bool) -> None:
    played = Played(settle(), refuse_from(refused, Wrote.FULL), room=lambda seconds: 0.0)
    assert set(played.writes) == {Write(IDLE)}
    assert played.returned is settled
