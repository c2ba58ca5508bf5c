"""Greedy decoding with a draft: a text that is probably much the same, such as that of less of the same sound.

Theory of operation. A model that is given a text says of each place in it which token is the likeliest there, all in
one run, which costs little more than the run for one token. So once a token is that of the draft, what follows there
is run at once, and kept as far as each token is the likeliest one. Where the text differs, the model writes on token by
token until it comes back to the draft.

Each run gives at least one token, as without a draft, so a bad one costs no run; `WIDTH` limits what it adds to them.

All tokens of a run are quantised on one scale, so near ties may be decided otherwise than token by token. The token of
the beginning, whose values are by far the largest, is run alone: beside it, the lead of a token over the next best one
moved by 0.17 on average, and without it by 0.11.

Pure: the model is a function.
"""

from collections.abc import Sequence
from typing import Protocol

from flowpi.server.loops import repeated

REACH = 4
"""How many tokens of the draft may be missing from the text, or be replaced in it, before it comes back to the draft.
Further away, a token that is the same is mostly another word."""

WIDTH = 16
"""How many tokens of the draft are run at once, for the time of two or three runs of one token."""


class Likeliest(Protocol):
    """The model."""

    def __call__(self, tokens: Sequence[int], kept: int) -> Sequence[int]:
        """Write `tokens` behind the first `kept` of all that were written before.

        Returns:
            The likeliest token behind each of `tokens`.
        """


def greedy(likeliest: Likeliest, draft: Sequence[int], *, begin: int, end: int, limit: int) -> list[int]:
    """Return the tokens that are each the likeliest after those before them, whatever the draft is.

    Args:
        likeliest: the model. What it raises ends the decoding.
        draft: a text, without `begin` and `end`; perhaps empty.
        begin, end: the control tokens.
        limit: the most tokens of a text.
    """
    tokens, at = list[int](), 0  # `at`: how far the text has come in the draft
    proposed = draft[:0]  # `begin` has a run of its own
    while len(tokens) < limit:
        proposed = proposed[: limit - len(tokens) - 1]
        likely = likeliest([tokens[-1] if tokens else begin, *proposed], len(tokens))
        for place, token in enumerate(likely):
            if token == end:
                return tokens
            tokens.append(token)
            if extra := repeated(tokens):
                return tokens[:-extra]
            if place == len(proposed) or token != proposed[place]:
                break
            at += 1
        near = draft[at : at + REACH]
        back = tokens[-1] in near
        at += near.index(tokens[-1]) + 1 if back else 0
        proposed = draft[at : at + WIDTH] if back else ()
    return tokens
