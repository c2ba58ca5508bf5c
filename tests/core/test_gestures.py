"""Gestures from edges: bouncing, taps, holds and double taps, to the millisecond."""

from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.gestures import Gesture, GestureKind, Gestures


def play(
    *edges: tuple[bool, float], until: float = 100.0, double_s: float = 0.4, long_s: float = 10.0
) -> list[Gesture]:
    """Return the gestures of edges at their times, with every deadline met."""
    gestures = Gestures(hold_s=0.3, double_s=double_s, long_s=long_s, debounce_s=0.015)
    seen: list[Gesture] = []
    for pressed, at in [*edges, (None, until)]:
        while (deadline := gestures.next_deadline()) is not None and deadline <= at:
            seen += gestures.handle_deadline(deadline)
        if pressed is not None:
            seen += gestures.edge(pressed, at)
    return seen


def kinds(*edges: tuple[bool, float]) -> list[GestureKind]:
    return [gesture.kind for gesture in play(*edges)]


def test_a_long_press() -> None:
    assert play((True, 1.0), (False, 2.0)) == [
        Gesture(GestureKind.PRESSED, 1.0),
        Gesture(GestureKind.HOLD, 1.3),
        Gesture(GestureKind.RELEASED, 2.0),
    ]


def test_a_tap() -> None:
    assert play((True, 1.0), (False, 1.2)) == [
        Gesture(GestureKind.PRESSED, 1.0),
        Gesture(GestureKind.RELEASED, 1.2, tap=True),
        Gesture(GestureKind.TAP, 1.2),
    ]


def test_the_first_edge_counts_at_once_and_its_bounce_does_not() -> None:
    bounce = [(True, 1.0), (False, 1.002), (True, 1.004), (False, 1.006), (True, 1.008)]
    assert kinds(*bounce, (False, 2.0), (True, 2.001), (False, 2.003)) == [
        GestureKind.PRESSED,
        GestureKind.HOLD,
        GestureKind.RELEASED,
    ]


def test_a_release_within_the_bounce_is_seen_when_it_settles() -> None:
    assert play((True, 1.0), (False, 1.010)) == [
        Gesture(GestureKind.PRESSED, 1.0),
        Gesture(GestureKind.RELEASED, 1.015, tap=True),
        Gesture(GestureKind.TAP, 1.015),
    ]


def test_a_double_tap_is_known_at_its_second_release() -> None:
    assert play((True, 1.0), (False, 1.1), (True, 1.3), (False, 1.4))[3:] == [
        Gesture(GestureKind.PRESSED, 1.3, again=True),
        Gesture(GestureKind.RELEASED, 1.4, tap=True),
        Gesture(GestureKind.DOUBLE, 1.4),
    ]


def test_a_tap_and_a_hold_are_no_double_tap() -> None:
    assert play((True, 1.0), (False, 1.1), (True, 1.2), (False, 9.0))[3:] == [
        Gesture(GestureKind.PRESSED, 1.2, again=True),
        Gesture(GestureKind.HOLD, 1.5),
        Gesture(GestureKind.RELEASED, 9.0),
    ]


def test_two_slow_taps_are_no_double_tap() -> None:
    assert GestureKind.DOUBLE not in kinds((True, 1.0), (False, 1.1), (True, 1.41), (False, 1.6))


def test_with_no_double_tap_two_taps_are_two() -> None:
    seen = play((True, 1.0), (False, 1.1), (True, 1.2), (False, 1.3), double_s=0.0)
    assert [gesture.kind for gesture in seen].count(GestureKind.TAP) == 2
    assert GestureKind.DOUBLE not in [gesture.kind for gesture in seen]


def test_a_very_long_press_is_told_once_while_it_lasts() -> None:
    assert play((True, 1.0), (False, 50.0)) == [
        Gesture(GestureKind.PRESSED, 1.0),
        Gesture(GestureKind.HOLD, 1.3),
        Gesture(GestureKind.LONG, 11.0),
        Gesture(GestureKind.RELEASED, 50.0),
    ]
    assert GestureKind.LONG not in kinds((True, 1.0), (False, 10.9), (True, 12.0), (False, 13.0))
    assert GestureKind.LONG not in [gesture.kind for gesture in play((True, 1.0), (False, 50.0), long_s=0.0)]


def test_the_press_after_a_tap_may_be_long() -> None:
    assert Gesture(GestureKind.LONG, 11.2) in play((True, 1.0), (False, 1.1), (True, 1.2), (False, 20.0))


def test_a_press_that_is_spoken_into_is_not_long() -> None:
    gestures = Gestures()
    gestures.edge(True, 1.0)
    gestures.spoken_into()
    assert [gesture.kind for gesture in gestures.handle_deadline(60.0)] == [GestureKind.HOLD]
    assert gestures.next_deadline() is None


def test_a_hold_and_a_tap_are_no_double_tap() -> None:
    assert GestureKind.DOUBLE not in kinds((True, 1.0), (False, 1.35), (True, 1.38), (False, 1.4))


def test_a_third_tap_begins_anew() -> None:
    assert (
        kinds((True, 1.0), (False, 1.1), (True, 1.2), (False, 1.25), (True, 1.35), (False, 1.4)).count(
            GestureKind.DOUBLE
        )
        == 1
    )


def test_a_lost_release_gives_no_second_press() -> None:
    assert kinds((True, 1.0), (True, 5.0), (False, 6.0)).count(GestureKind.PRESSED) == 1


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.5)), max_size=80))
def test_whatever_the_contact_does_presses_and_releases_alternate(changes: list[tuple[bool, float]]) -> None:
    now, edges = 0.0, []
    for pressed, pause in changes:
        now += pause
        edges.append((pressed, now))
    seen = play(*edges, until=now + 10)
    steps = [gesture.kind for gesture in seen if gesture.kind in (GestureKind.PRESSED, GestureKind.RELEASED)]
    assert steps == [GestureKind.PRESSED, GestureKind.RELEASED] * (len(steps) // 2) + [GestureKind.PRESSED] * (
        len(steps) % 2
    )
    assert (len(steps) % 2 == 1) == (bool(edges) and edges[-1][0])
    assert [gesture.at for gesture in seen] == sorted(gesture.at for gesture in seen)


@given(
    bounces=st.lists(st.lists(st.floats(0.0, 0.014), max_size=9), min_size=2, max_size=2),
    late_s=st.lists(st.floats(0.0, 0.5), min_size=20, max_size=20),
)
def test_edges_that_are_told_late_are_no_presses_where_the_contact_can_be_looked_at(
    bounces: list[list[float]], late_s: list[float]
) -> None:
    """A press of two seconds is one press and one release, however late each edge of its bouncing arrives."""
    edges: list[tuple[float, bool]] = []
    for begins_at, bounce in zip((1.0, 3.0), bounces, strict=True):
        times = sorted({begins_at, *(begins_at + after for after in bounce)})
        times = times if len(times) % 2 else times[:-1]  # an odd number of edges, so that the last is like the first
        edges += [(at, (number % 2 == 0) == (begins_at == 1.0)) for number, at in enumerate(times)]

    def contact(now: float) -> bool:
        return next((pressed for at, pressed in reversed(edges) if at <= now), False)

    gestures = Gestures(hold_s=0.3, debounce_s=0.015)
    seen, told_at = list[Gesture](), 0.0
    for (at, pressed), late in zip(edges, late_s, strict=False):
        told_at = max(told_at, at + late)  # edges arrive in their order
        while (deadline := gestures.next_deadline()) is not None and deadline <= told_at:
            now = max(deadline, told_at - late)
            seen += gestures.handle_deadline(now, lambda now=now: contact(now))  # type: ignore[misc]
        seen += gestures.edge(pressed, at)
    while (deadline := gestures.next_deadline()) is not None:
        seen += gestures.handle_deadline(max(deadline, told_at), lambda: False)
    kinds = [gesture.kind for gesture in seen]
    assert (kinds.count(GestureKind.PRESSED), kinds.count(GestureKind.RELEASED), kinds.count(GestureKind.TAP)) == (
        1,
        1,
        0,
    )
