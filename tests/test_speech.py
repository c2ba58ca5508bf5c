"""The yardstick: which differences between two texts are errors of hearing, and which are habits of writing."""

import pytest

from tests.speech import WordErrors, interval, joined, librivox, normalised, total, word_error_rate


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("He was not an ill-disposed young man.", "he was not, an ill disposed young man"),
        ("It's what we can't and won't do: I've said so.", "It is what we can not and will not do. I have said so."),
        ("You cannot", "you can not"),
        ("Mr. and Mrs. John Dashwood", "Mister and Missus John Dashwood"),
        ("the colour of honour", "the color of honor"),
        ("at the farm house to day", "at the farmhouse today"),
        ("at the farmhouse today", "at the farm house to day"),
        ("a way to the farmhouse", "a way to the farm house"),
        ("twenty-three metres", "23 meters"),
        ("on the twenty third", "on the 23rd"),
        ("two nine three four zero", "29340"),
        ("thirty three four six ninety two", "33, 4, 6, 92."),
        ("nineteen eighty four", "1984"),
        ("um, ten of, uh, clubs", "10 of clubs"),
    ],
)
def test_two_ways_to_write_the_same_words(said: str, heard: str) -> None:
    assert word_error_rate(said, heard) == 0


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("four queen of clubs", "four queen of gloves", 1 / 4),
        ("four queen of clubs", "queen of clubs", 1 / 4),
        ("four queen of clubs", "four queen of the clubs", 1 / 4),
        ("four queen of clubs", "", 1),
        ("it isn't so", "it is so", 1 / 4),
        ("twenty three metres", "33 metres", 1 / 3),
        ("thirty three four six ninety two", "33 for 692", 1 / 6),
        ("the farm house burns", "the farmhouse turns", 1 / 3),
        ("the farm house", "the warm house", 1 / 3),
        ("a part of it is apart", "a part of it is a part of it", 2 / 6),
        ("yes", "no no no", 3),
    ],
)
def test_errors_of_hearing(said: str, heard: str, errors: float) -> None:
    assert word_error_rate(said, heard) == pytest.approx(errors)


def test_words_are_joined_only_as_the_other_text_joins_them() -> None:
    assert joined(["ice", "cream", "bath", "tub", "a", "way"], ["bathtub", "ice"]) == [
        "ice",
        "cream",
        "bathtub",
        "a",
        "way",
    ]


def test_no_word_of_the_recordings_is_lost() -> None:
    for recording in librivox():
        assert len(normalised(recording.text).split()) == len(recording.text.split())


def test_a_long_recording_counts_more_than_a_short_one() -> None:
    assert total([WordErrors(1, 2), WordErrors(0, 8)]) == WordErrors(1, 10)


class TestInterval:
    def test_has_the_rate_in_it(self) -> None:
        each = [WordErrors(0, 10)] * 90 + [WordErrors(2, 10)] * 10
        low, high = interval(each)
        assert 0.005 < low < total(each).rate < high < 0.04

    def test_more_recordings_say_more(self) -> None:
        each = [WordErrors(0, 10)] * 9 + [WordErrors(2, 10)]
        (low, high), (low_of_many, high_of_many) = interval(each), interval(each * 100)
        assert high_of_many - low_of_many < (high - low) / 5
