"""Strokes as moments, and as reports of a USB keyboard."""

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.typing.strokes import IDLE, KEYS, Modifiers, Stroke, Typed, moments
from flowpi.core.typing.usages import DESCRIPTOR, USAGES, report
from layouts.make import CODES

NONE, SHIFT, ALTGR = Modifiers.NONE, Modifiers.SHIFT, Modifiers.ALTGR

strokes = st.builds(Stroke, st.sampled_from([0, *CODES]), st.sampled_from([NONE, SHIFT, ALTGR, SHIFT | ALTGR]))


@pytest.mark.parametrize(
    ("typed", "held"),
    [
        ([], []),
        ([Stroke(30)], [[Stroke(30), IDLE]]),
        ([Stroke(30, SHIFT)], [[Stroke(0, SHIFT), Stroke(30, SHIFT), Stroke(0, SHIFT), IDLE]]),
        (
            [Stroke(30, SHIFT), Stroke(48, SHIFT), Stroke(46)],
            [
                [Stroke(0, SHIFT), Stroke(30, SHIFT), Stroke(0, SHIFT)],
                [Stroke(48, SHIFT), Stroke(0, SHIFT)],
                [IDLE, Stroke(46), IDLE],
            ],
        ),
        ([Stroke(30, SHIFT), IDLE], [[Stroke(0, SHIFT), Stroke(30, SHIFT), Stroke(0, SHIFT)], [IDLE]]),
    ],
)
def test_modifiers_change_alone_and_stay_for_a_neighbour(typed: list[Stroke], held: list[list[Stroke]]) -> None:
    assert [list(one) for one in moments(typed)] == held


@given(st.lists(strokes))
def test_a_key_never_changes_together_with_a_modifier(typed: list[Stroke]) -> None:
    parts = list(moments(typed))
    assert len(parts) == len(typed)
    held = [IDLE, *chain.from_iterable(parts)]
    assert held[-1] == IDLE
    for before, after in pairwise(held):
        assert before.keycode == after.keycode or before.modifiers == after.modifiers
        assert not (before.keycode and after.keycode)  # the same key twice must be released between


def test_a_character_has_all_its_strokes() -> None:
    typed = Typed((Stroke(40), Stroke(18), Stroke(30)), "éa", (2, 3), 0, 0)
    assert typed.characters() == [(Stroke(40), Stroke(18)), (Stroke(30),)]
    assert Typed((), "", (), 0, 0).characters() == []


@pytest.mark.parametrize(
    ("stroke", "bytes_of_report"),
    [
        (IDLE, "00 00 00 00 00 00 00 00"),
        (Stroke(30), "00 00 04 00 00 00 00 00"),
        (Stroke(16, SHIFT), "02 00 14 00 00 00 00 00"),
        (Stroke(86, ALTGR | SHIFT), "42 00 64 00 00 00 00 00"),
        (Stroke(0, Modifiers.CTRL | Modifiers.ALT), "05 00 00 00 00 00 00 00"),
        (Stroke(30, Modifiers.LEVEL3 | SHIFT), "02 00 39 04 00 00 00 00"),
        (Stroke(11), "00 00 27 00 00 00 00 00"),
    ],
)
def test_a_report(stroke: Stroke, bytes_of_report: str) -> None:
    assert report(stroke).hex(" ") == bytes_of_report


def test_every_key_of_a_layout_has_a_usage_below_the_maximum_of_the_descriptor() -> None:
    assert set(CODES) <= set(USAGES)
    assert len(set(USAGES.values())) == len(USAGES)
    assert all(0 < usage <= 0xDD for usage in USAGES.values())
    assert len(DESCRIPTOR) == 64
    assert bytes.fromhex("95057501050819012905 9102") in DESCRIPTOR  # five LEDs, from the computer


def test_what_is_down() -> None:
    assert Stroke(30, SHIFT | Modifiers.LEVEL3).down() == {30, 42, 58}
    assert IDLE.down() == set()
    assert set(KEYS) == set(Modifiers)
