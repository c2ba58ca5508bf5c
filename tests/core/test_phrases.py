"""Which phrases a recogniser listens for, whatever somebody sends."""

import itertools

import pytest

from flowpi.core.phrases import LONGEST, MOST, chosen, usable


@pytest.mark.parametrize("phrase", ["Ada", "A1C", "Zoë", "Ossington Vale", "x" * LONGEST, "東京都"])
def test_usable(phrase: str) -> None:
    assert usable(phrase) == phrase


def test_one_space_between_words() -> None:
    assert usable("  Ossington \n Vale ") == "Ossington Vale"


@pytest.mark.parametrize("phrase", ["", "Bo", "...", "a, b", "x" * (LONGEST + 1), 7, None, ["Ada"], b"Ada", {"Ada": 1}])
def test_not_usable(phrase: object) -> None:
    assert usable(phrase) is None


def test_the_first_list_comes_first_and_each_phrase_once() -> None:
    assert chosen(["Wexcombe", "Ada"], (None, "Ada", "Thandrel")) == ("Wexcombe", "Ada", "Thandrel")


def test_only_so_many() -> None:
    assert chosen(map("name {}".format, range(MOST + 1))) == tuple(map("name {}".format, range(MOST)))


def test_an_endless_list_costs_little() -> None:
    assert chosen(itertools.repeat("x" * 1_000_000), itertools.repeat("ab"), ["Ada"]) == ("Ada",)
