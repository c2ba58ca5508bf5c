"""Utterance ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.core.ulid import UlidFactory, int_to_ulid, is_ulid, ulid_to_int

RANDOM = bytes(range(10))


def test_the_time_comes_first() -> None:
    # The specification's example: 1469918176385 is 01ARYZ6S41.
    assert UlidFactory().make(1469918176385, RANDOM).startswith("01ARYZ6S41")


@given(st.lists(st.integers(0, 2**47), min_size=2, max_size=30))
def test_ids_only_grow_whatever_the_clock_does(clock: list[int]) -> None:
    factory = UlidFactory()
    ids = [factory.make(at, RANDOM) for at in clock]
    assert ids == sorted(set(ids))
    assert all(is_ulid(one) for one in ids)


def test_ids_follow_those_of_an_earlier_run() -> None:
    last = UlidFactory().make(2**41, RANDOM)
    assert UlidFactory(after=last).make(0, RANDOM) > last


@given(st.integers(0, 2**128 - 1))
def test_round_trip(value: int) -> None:
    assert ulid_to_int(int_to_ulid(value)) == value


@pytest.mark.parametrize("bad", ["", "../../etc/passwd", "01ARYZ6S41TSV4RRFFQ69G5FA", "8" + 25 * "0", "0" * 25 + "I"])
def test_what_is_no_id_is_refused(bad: str) -> None:
    assert not is_ulid(bad)
    with pytest.raises(ValueError, match="not a ULID"):
        ulid_to_int(bad)
