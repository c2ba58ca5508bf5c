import pytest

from flowpi.server.loops import before_loop, repeated


def kept(tokens: list[int]) -> list[int]:
    """Return what a search keeps that finds these tokens, one by one."""
    found = list[int]()
    for token in tokens:
        found.append(token)
        if extra := repeated(found):
            return found[:-extra]
    return found


@pytest.mark.parametrize("loop", [[5], [5, 6], [5, 6, 7], [5, 6, 7, 8]])
def test_a_loop_ends_with_its_first_turn(loop: list[int]) -> None:
    assert kept([1, 2, *(loop * 12)]) == [1, 2, *loop]


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [5] * 11,
        [5, 6, 7, 8] * 2 + [5, 6, 7],
        [5, 6, 7, 8, 9] * 5,
        [5, 6, 7, 8, 1, 5, 6, 7, 8, 2, 5, 6, 7, 8, 3],
    ],
)
def test_what_people_repeat_stays(tokens: list[int]) -> None:
    assert kept(tokens) == tokens


@pytest.mark.parametrize(
    ("tokens", "first_turn"),
    [
        ("a b c d", "a b c d"),
        ("x a b c d a b c d", "x a b c d a b c d"),
        ("x a b c d a b c d a b c d", "x a b c d"),
        ("x a b c d a b c d a b c d a b c d a b c d", "x a b c d"),
        ("no no no no no no", "no no no no no no"),
        ("no " * 24, "no " * 4),
    ],
)
def test_a_loop_at_the_end_is_cut(tokens: str, first_turn: str) -> None:
    assert before_loop(tokens.split()) == first_turn.split()
