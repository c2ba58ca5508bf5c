"""Greedy decoding with a draft, over models that are a function of the text so far, and over Moonshine itself."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.server.drafts import REACH, WIDTH, greedy
from flowpi.server.loops import repeated

BEGIN, END = 1, 2
Text = Sequence[int]


class Model:
    """A model that writes what `follows` says of the text so far. It remembers how many tokens each run had."""

    def __init__(self, follows: Callable[[Text], int]) -> None:
        self._follows = follows
        self._written = list[int]()
        self.runs = list[int]()

    def __call__(self, tokens: Sequence[int], kept: int) -> list[int]:
        assert kept <= len(self._written)
        self.runs.append(len(tokens))
        self._written[kept:] = tokens
        assert self._written[0] == BEGIN
        return [self._follows(self._written[1:end]) for end in range(kept + 1, len(self._written) + 1)]

    def writes(self, draft: Text = (), *, limit: int = 100) -> list[int]:
        self.runs.clear()
        return greedy(self, draft, begin=BEGIN, end=END, limit=limit)


def says(text: Text) -> Model:
    """Return a model that has heard a text, and is lost after any other."""
    return Model(lambda so_far: [*text, END][len(so_far)] if list(so_far) == list(text[: len(so_far)]) else 0)


def plain(follows: Callable[[Text], int], limit: int) -> list[int]:
    """Return the tokens that are each the likeliest, one by one."""
    tokens = list[int]()
    while len(tokens) < limit and (token := follows(tokens)) != END:
        tokens.append(token)
        if extra := repeated(tokens):
            return tokens[:-extra]
    return tokens


drafts = st.lists(st.integers(3, 9), max_size=40)


@given(seed=st.integers(0, 2**32), memory=st.integers(1, 3), draft=drafts, limit=st.integers(1, 60))
def test_any_draft_gives_the_same_text(seed: int, memory: int, draft: Text, limit: int) -> None:
    """With a short memory the model comes back to a draft of the same words, and gets into loops."""

    def follows(so_far: Text) -> int:
        return random.Random(f"{seed}{so_far[-memory:]}").randrange(END, 10)

    model, alone = Model(follows), Model(follows)
    assert model.writes(draft, limit=limit) == alone.writes(limit=limit) == plain(follows, limit)
    assert len(model.runs) <= len(alone.runs)
    assert max(model.runs) <= min(limit, WIDTH + 1)


@given(text=drafts, draft=drafts)
def test_a_wrong_draft_costs_no_run(text: Text, draft: Text) -> None:
    model = says(text)
    assert model.writes(draft) == plain(lambda so_far: [*text, END][len(so_far)], 100)
    assert len(model.runs) <= len(text) + 1


SENTENCE = list(range(10, 40))


@pytest.mark.parametrize(
    ("draft", "runs"),
    [
        (SENTENCE, [1, 17, 13]),
        (SENTENCE[:20], [1, 17, 3, *[1] * 10]),
        ([*SENTENCE, 50, 51], [1, 17, 15]),
        ([], [1] * 31),
        ([*SENTENCE[:10], 50, *SENTENCE[11:]], [1, 17, 1, 17, 2]),
        ([50, *SENTENCE], [1, 17, 13]),
        ([*SENTENCE[:10], 50, *SENTENCE[10:]], [1, 17, 17, 3]),
        ([*SENTENCE[:10], *SENTENCE[12:]], [1, 17, 1, 1, 17, 1]),
        ([*range(50, 50 + REACH), *SENTENCE], [1] * 31),
    ],
    ids=[
        "the same",
        "less",
        "more",
        "none",
        "another word",
        "another beginning",
        "a word too many",
        "words too few",
        "far away",
    ],
)
def test_runs(draft: Text, runs: list[int]) -> None:
    model = says(SENTENCE)
    assert model.writes(draft) == SENTENCE
    assert model.runs == runs


def test_a_long_draft_does_not_lead_beyond_the_limit() -> None:
    model = says(SENTENCE)
    assert model.writes(SENTENCE, limit=5) == SENTENCE[:5]
    assert model.runs == [1, 4]


def test_a_draft_that_is_a_loop_is_cut_like_any_other() -> None:
    model = Model(lambda _: 5)
    assert model.writes([5] * 40) == model.writes() == [5]
