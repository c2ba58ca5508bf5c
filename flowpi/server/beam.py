"""Beam search with phrases to listen for: the most likely text, where one that has a phrase is preferred.

Pure: the model is a function. All hypotheses go through it as one batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from flowpi.server.phrases import Match, Phrases

WIDTH = 4
"""How many hypotheses are followed."""

MARGIN = 3.0
"""In nats. A hypothesis that is so much worse than the best one is not followed: as much as one token of a phrase makes
up for. With 12 no more names are found."""

NEAR = 12.0
"""In nats. Tokens that are so much less likely than the best one count as impossible, all together."""

TOKENS, PHRASES = 8, WIDTH
"""How many tokens are considered next in each hypothesis: the best, and the best of those that go on with its phrase,
or begin one. As these gain the same, no more of them could be followed."""

RECENT = 2
"""How many tokens a text goes on from. So a comma that may be none is soon decided, and takes no row of the batch."""

LENGTH_EXPONENT = 0.6
"""A text is judged by its score over this power of its length, or else short texts would win."""


Future = tuple[tuple[int, ...], int]
"""The latest tokens of a text, and the place where it is in a phrase."""


class Step(Protocol):
    """The model."""

    def __call__(self, tokens: Sequence[int], parents: Sequence[int]) -> Any:
        """Continue hypothesis number `parents[i]` of the call before with `tokens[i]`.

        Returns:
            The logits of the token that comes next: float32, shape (hypotheses, vocabulary).
        """


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that may have been said.

    Attributes:
        tokens: the text.
        score: its log probability and the bonus of its phrases, in nats.
        match: how far it has come in a phrase.
        parent: the number of the hypothesis that it continues.
    """

    tokens: tuple[int, ...]
    score: float
    match: Match
    parent: int = 0

    @property
    def future(self) -> Future:
        """What decides how the text goes on. Of two with the same, the better one stays the better one."""
        return self.tokens[-RECENT:], id(self.match.node)

    @property
    def sure(self) -> float:
        """The score without the bonus of a phrase that is not complete: for that, no other is given up."""
        return self.score + self.match.refund

    @property
    def merit(self) -> float:
        """What texts of different lengths are compared by."""
        return self.score / math.pow(len(self.tokens), LENGTH_EXPONENT)


def search(step: Step, phrases: Phrases, *, begin: int, end: int, limit: int) -> tuple[int, ...]:
    """Return the best text as tokens, without `begin` and `end`.

    Args:
        step: the model. What it raises ends the search.
        phrases: the phrases to listen for.
        begin, end: the control tokens.
        limit: the most tokens of a text, with `end`.
    """
    alive, done = [Hypothesis((begin,), 0.0, phrases.start)], list[Hypothesis]()
    for _ in range(limit):
        logits = step([hypothesis.tokens[-1] for hypothesis in alive], [hypothesis.parent for hypothesis in alive])
        longer = _continued(alive, logits, phrases)
        best = max(hypothesis.sure for hypothesis in longer)
        alive, futures = [], set[Future]()
        for hypothesis in longer:
            if hypothesis.score < best - MARGIN or len(alive) == WIDTH:
                break
            if hypothesis.tokens[-1] == end:
                done.append(hypothesis)
            elif hypothesis.future not in futures:
                alive.append(hypothesis)
                futures.add(hypothesis.future)
        least = max((hypothesis.merit for hypothesis in done), default=-math.inf)
        alive = [hypothesis for hypothesis in alive if hypothesis.merit >= least]
        if not alive:
            break
    if done:
        return max(done, key=lambda hypothesis: hypothesis.merit).tokens[1:-1]
    return max(alive, key=lambda hypothesis: hypothesis.sure).tokens[1:]


def _continued(alive: Sequence[Hypothesis], logits: Any, phrases: Phrases) -> list[Hypothesis]:
    """Return the hypotheses with one more token, best first."""
    longer = []
    for parent, (hypothesis, row) in enumerate(zip(alive, logits, strict=True)):
        near = np.flatnonzero(row >= row.max() - NEAR)
        total = math.log(np.exp(row[near] - row.max()).sum()) + float(row.max())
        rest = np.fromiter(hypothesis.match.node, np.int64)
        for token in {*_best(near, row, TOKENS), *_best(rest, row, PHRASES), *_best(phrases.first, row, PHRASES)}:
            match, bonus = phrases.follow(hypothesis.match, token)
            score = hypothesis.score + float(row[token]) - total + bonus
            longer.append(Hypothesis((*hypothesis.tokens, token), score, match, parent))
    return sorted(longer, key=lambda hypothesis: -hypothesis.score)


def _best(tokens: Any, logits: Any, count: int) -> list[int]:
    """Return the `count` most likely of some tokens."""
    if len(tokens) > count:
        tokens = tokens[np.argpartition(-logits[tokens], count)[:count]]
    chosen: list[int] = tokens.tolist()
    return chosen
