from itertools import pairwise

import pytest

from flowpi.core.agreement import agreed


@pytest.mark.parametrize(
    ("before", "now", "settled"),
    [
        ("", "It was", ""),
        ("It was", "It was the best", "It was"),
        ("It was the best", "It was the bestiary", "It was the"),
        ("It was the bestiary", "It was the best", "It was the"),
        ("It was the best, of", "It was the best of", "It was the"),
        ("It was the age", "It is the age", "It"),
        ("It was", "It was", "It was"),
        ("It was the", "It was", "It was"),
        ("He said", "She said", ""),
        ("It was\nthe", "It was\nof", "It was"),
        ("Zo\u00eb \U0001f600 rang", "Zo\u00eb \U0001f600 ran", "Zo\u00eb \U0001f600"),
        ("今日は", "今日も晴れ", "今日"),
        ("你好\uff0c世", "你好\uff0c界", "你好\uff0c"),
        ("それか", "それか\u3099", "それ"),
        ("\U0001f44d", "\U0001f44d\U0001f3fd", ""),
        ("\U0001f469", "\U0001f469\u200d\U0001f4bb", ""),
    ],
)
def test_whole_words_that_two_texts_in_a_row_have(before: str, now: str, settled: str) -> None:
    assert now[: agreed(before, now)] == settled


def test_what_is_settled_stays_settled_while_the_text_only_grows() -> None:
    words = ["It", "was", "the", "best", "of", "times,", "it", "was", "the", "worst", "of", "times"]
    texts = [" ".join(words[:count]) for count in range(len(words) + 1)]
    settled = [agreed(before, now) for before, now in pairwise(texts)]
    assert settled == [len(text) for text in texts[:-1]]
