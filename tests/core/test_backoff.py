"""The growing waits: doubled, bounded and spread."""

import pytest

from flowpi.core.backoff import Backoff, backoff_s


@pytest.mark.parametrize(
    ("chance", "waits"), [(1.0, [2, 4, 8, 16, 20, 20]), (0.0, [1, 2, 4, 8, 10, 10]), (0.5, [1.5, 3, 6, 12, 15, 15])]
)
def test_each_is_between_half_and_all_of_what_doubles_up_to_a_bound(chance: float, waits: list[float]) -> None:
    assert [backoff_s(failures, chance, first_s=2, longest_s=20) for failures in range(1, 7)] == waits
    assert backoff_s(10_000, chance, first_s=2, longest_s=20) == waits[-1]


def test_it_grows_until_it_works_again_and_each_wait_has_a_chance_of_its_own() -> None:
    chances = iter([0.0, 1.0, 0.5, 1.0])
    backoff = Backoff(1, 300, lambda: next(chances))
    assert [backoff.next_s() for _ in range(3)] == [0.5, 2, 3]
    backoff.reset()
    assert backoff.next_s() == 1
