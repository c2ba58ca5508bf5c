"""Phrases to listen for, as the tokens that a model writes them with, and how far a text has come in one of them.

A phrase that is being written gets a bonus for each token. The bonus is a loan until the phrase is complete: a text
that leaves it before gives all of it back. So no half of a phrase gains anything.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

BONUS = 3.0
"""In nats, for each token. Measured: with 2 fewer names are found, with 4 some that nobody said."""

MIN_LETTERS, MIN_TOKENS = 5, 2
"""A phrase that is shorter in both is a common word, which needs no help and would find it everywhere."""

SPACE = "\u2581"


class Node(dict[int, "Node"]):
    """A place in the trie of the phrases: the places behind it by token, and whether a phrase is complete here."""

    complete = False


@dataclass(frozen=True, slots=True)
class Match:
    """How far a text has come in a phrase, and what it gives back if it leaves the phrase here."""

    node: Node
    loan: float = 0.0

    @property
    def refund(self) -> float:
        """The change of the score of a text that ends here."""
        return 0.0 if self.node.complete else -self.loan


class Phrases:
    """The phrases that a model listens for in one utterance.

    Attributes:
        start: the match of a text that is in no phrase.
        first: the tokens that phrases begin with, an array of integers.
    """

    def __init__(self, phrases: Iterable[Sequence[int]], joining: Any) -> None:
        """`phrases`: as tokens. `joining`: for each token whether it continues a word, an array of bool."""
        self.start = Match(Node())
        self._joining = joining
        for tokens in phrases:
            node = self.start.node
            for token in tokens:
                node = node.setdefault(token, Node())
            node.complete = True
        self.first = np.array(sorted(self.start.node), np.int64)

    def __bool__(self) -> bool:
        return bool(self.start.node)

    def follow(self, match: Match, token: int) -> tuple[Match, float]:
        """Return the match after one more token of the text, and the change of the score of the text."""
        # A name that is only the beginning of the word that was written is not complete.
        kept = match.node.complete and not self._joining[token]
        loan = 0.0 if kept else match.loan
        if (node := match.node.get(token)) is not None:
            return Match(node, loan + BONUS), BONUS
        if (node := self.start.node.get(token)) is not None:
            return Match(node, BONUS), BONUS - loan
        return self.start, -loan


class Tokenizer:
    """Writes phrases with the tokens of a model: its numbers are the ranks of the merges of a byte-pair encoding.

    Args:
        vocabulary: the tokens by number, UTF-8 with `SPACE` for a space.
    """

    def __init__(self, vocabulary: Sequence[bytes]) -> None:
        texts = [token.decode(errors="replace") for token in vocabulary]
        # The letters of ASCII are there twice: the bytes at the beginning are for letters that have no token.
        self._numbers = {text: number for number, text in enumerate(texts)}
        self.joining = np.array([text[:1].isalnum() for text in texts])
        self.phrases = lru_cache(8)(self._phrases)  # the same appliance sends the same phrases again
        self._word = lru_cache(1000)(self._merged)

    def _phrases(self, phrases: tuple[str, ...]) -> Phrases:
        """Return `phrases` for this model, each as it is written and with a capital, without those too short."""
        written = dict.fromkeys(form for phrase in phrases for form in (phrase, phrase[:1].upper() + phrase[1:]))
        found = ((form, self.tokens(form)) for form in written)
        return Phrases(
            (tokens for form, tokens in found if len(tokens) >= MIN_TOKENS or (tokens and len(form) >= MIN_LETTERS)),
            self.joining,
        )

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; none if the model has no token for one of its letters."""
        words = [self._word(word) for word in text.split()]
        return [token for word in words for token in word] if all(words) else []

    def _merged(self, word: str) -> tuple[int, ...]:
        numbers, none = self._numbers, sys.maxsize
        parts = [SPACE, *word]
        ranks = [numbers.get(a + b, none) for a, b in pairwise(parts)]
        while ranks and (rank := min(ranks)) != none:
            at = ranks.index(rank)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
            del ranks[at]
            for near in range(max(at - 1, 0), min(at + 1, len(ranks))):
                ranks[near] = numbers.get(parts[near] + parts[near + 1], none)
        return tuple(numbers[part] for part in parts) if numbers.keys() >= set(parts) else ()
