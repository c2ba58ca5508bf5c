"""The beam search over models that are a table: the likelihood of the next token after each text."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from flowpi.server import beam
from flowpi.server.beam import MARGIN, WIDTH, search
from flowpi.server.phrases import BONUS, Match, Phrases

BEGIN, END, A, B, C, D, E, F = range(8)
SIZE = 8
Text = tuple[int, ...]


class Model:
    """A model whose next tokens follow from the text so far. It remembers what was asked.

    Args:
        chances: returns the probabilities of the next token after a text; any sum, and a token that is absent has none.
    """

    def __init__(self, chances: Callable[[Text], dict[int, float]]) -> None:
        self._chances = chances
        self.asked = list[list[Text]]()

    def __call__(self, tokens: Sequence[int], parents: Sequence[int]) -> Any:
        before = self.asked[-1] if self.asked else [()]
        texts = [(*before[parent], token) for token, parent in zip(tokens, parents, strict=True)]
        self.asked.append(texts)
        logits = np.full((len(texts), SIZE), -60, np.float32)
        for row, text in enumerate(texts):
            for token, chance in self._chances(text[1:]).items():
                logits[row, token] = math.log(chance) + 5  # a model's logits are not normalised
        return logits


def says(*texts: tuple[Text, float]) -> Model:
    """Return a model that has heard one of some texts, each with its probability."""

    def chances(so_far: Text) -> dict[int, float]:
        found = dict[int, float]()
        for text, chance in texts:
            whole = (*text, END)
            if whole[: len(so_far)] == so_far and len(whole) > len(so_far):
                found[whole[len(so_far)]] = found.get(whole[len(so_far)], 0) + chance
        return found or {END: 1.0}

    return Model(chances)


def listening_for(*phrases: Text) -> Phrases:
    return Phrases(phrases, np.zeros(SIZE, bool))


def found(model: Model, *phrases: Text, limit: int = 20) -> Text:
    return search(model, listening_for(*phrases), begin=BEGIN, end=END, limit=limit)


def greedy(model: Model, limit: int = 20) -> Text:
    text: Text = ()
    while len(text) < limit and (token := int(model([BEGIN if not text else text[-1]], [0])[0].argmax())) != END:
        text = (*text, token)
    return text


def at_random(seed: int, sharpness: float = 1) -> Model:
    """Return a model that prefers one token after each text, `sharpness` times as much as any other."""

    def chances(text: Text) -> dict[int, float]:
        dice = random.Random(f"{seed} {text}")
        others = {token: 1 - dice.random() / 2 for token in range(END, SIZE)}
        return others | {dice.randrange(END, SIZE): sharpness}

    return Model(chances)


class TestWithoutPhrases:
    @pytest.mark.parametrize("seed", range(20))
    def test_one_hypothesis_is_greedy(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(beam, "WIDTH", 1)
        assert found(at_random(seed, 1.5)) == greedy(at_random(seed, 1.5))

    @pytest.mark.parametrize("seed", range(20))
    def test_a_clear_text_is_what_greedy_finds(self, seed: int) -> None:
        assert found(at_random(seed, 1e6)) == greedy(at_random(seed, 1e6))

    def test_a_better_end_makes_up_for_a_worse_beginning(self) -> None:
        heard = ((A, B), 0.2), ((A, C), 0.2), ((A, D), 0.15), ((E, F), 0.45)
        assert greedy(says(*heard)) == (A, B)
        assert found(says(*heard)) == (E, F)


class TestPhrases:
    def test_a_phrase_that_was_nearly_heard(self) -> None:
        heard = ((A, B, F), 0.9), ((A, C, D, F), 0.1)
        assert found(says(*heard)) == (A, B, F)
        assert found(says(*heard), (C, D)) == (A, C, D, F)

    def test_whose_beginning_is_not_among_the_best_tokens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(beam, "TOKENS", 1)
        heard = ((A, F), 0.4), ((B, F), 0.35), ((C, D, F), 0.25)
        assert found(says(*heard), (C, D)) == (C, D, F)

    def test_whose_rest_is_not_among_the_best_tokens(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(beam, "TOKENS", 1)
        heard = ((C, A), 0.6), ((C, D), 0.4)
        assert found(says(*heard)) == (C, A)
        assert found(says(*heard), (C, D)) == (C, D)

    def test_one_that_was_not_said_is_not_put_in(self) -> None:
        chance = math.exp(-2 * BONUS - 1)
        assert found(says(((A, B, F), 1 - chance), ((A, C, D, F), chance)), (C, D)) == (A, B, F)

    def test_the_beginning_of_one_gains_nothing(self) -> None:
        """C is the beginning of C D, which was not said: the bonus for it may not bring C A to the front."""
        assert found(says(((B, A), 0.55), ((C, A), 0.45)), (C, D)) == (B, A)

    def test_nor_at_the_end_of_the_text(self) -> None:
        assert found(says(((B,), 0.55), ((C,), 0.45)), (C, D)) == (B,)

    def test_nor_where_the_text_is_cut_off(self) -> None:
        assert found(says(((B, B), 0.55), ((B, C, D), 0.45)), (C, D), limit=2) == (B, B)

    @pytest.mark.parametrize("alike", [False, True], ids=["beginnings", "ends"])
    def test_each_step_looks_at_few_tokens_however_many_phrases_there_are(self, alike: bool) -> None:
        class Counting(Phrases):
            followed = 0

            def follow(self, match: Match, token: int) -> tuple[Match, float]:
                self.followed += 1
                return super().follow(match, token)

        size = 500
        rest = [(token, token + 1) for token in range(END + 1, size - 1)]
        phrases = Counting([(A, *each) for each in rest] if alike else rest, np.zeros(size, bool))

        def model(tokens: Sequence[int], parents: Sequence[int]) -> Any:
            logits = np.zeros((len(tokens), size), np.float32)
            logits[:, A] = 1
            return logits

        search(model, phrases, begin=BEGIN, end=END, limit=5)
        assert phrases.followed <= (1 + 4 * WIDTH) * (beam.TOKENS + 2 * beam.PHRASES)


class TestEnd:
    def test_nothing_was_said(self) -> None:
        assert found(says(((), 1.0)), (C, D)) == ()

    def test_the_limit(self) -> None:
        model = Model(lambda text: {A: 0.9, B: 0.1})
        assert found(model, (C, D), limit=7) == (A,) * 7
        assert len(model.asked) == 7

    def test_no_step_more_than_the_text_needs(self) -> None:
        model = says(((A, B, C), 1.0))
        assert found(model, (C, D)) == (A, B, C)
        assert len(model.asked) == 4

    def test_a_text_that_ended_wins_if_no_other_can_be_better(self) -> None:
        model = Model(lambda text: {END: 0.6, B: 0.4} if text == (A,) else {A: 0.5, B: 0.5} if text else {A: 1.0})
        assert found(model, (C, D)) == (A,)
        assert len(model.asked) < 20

    def test_what_the_model_raises_ends_it_at_once(self) -> None:
        calls = 0

        def halts(tokens: Sequence[int], parents: Sequence[int]) -> Any:
            nonlocal calls
            if (calls := calls + 1) == 3:
                raise RuntimeError("halted")
            return np.zeros((len(tokens), SIZE), np.float32)

        with pytest.raises(RuntimeError, match="halted"):
            search(halts, listening_for((C, D)), begin=BEGIN, end=END, limit=20)
        assert calls == 3

    def test_a_short_text_does_not_win_by_its_length(self) -> None:
        """A alone is the likelier text, but the other one is so by more for each of its tokens."""
        assert found(says(((A,), 0.49), ((B, C, D, E), 0.43), ((B, C, F), 0.08))) == (B, C, D, E)


class TestBatch:
    @pytest.mark.parametrize("seed", range(10))
    def test_no_more_rows_than_hypotheses_that_count(self, seed: int) -> None:
        model = at_random(seed)
        text = found(model, (C, D))
        assert all(1 <= len(texts) <= WIDTH and len(set(texts)) == len(texts) for texts in model.asked)
        assert any((BEGIN, *text[:-1]) in texts for texts in model.asked), (
            "the text is one that the model was asked for"
        )

    def test_the_hopeless_are_not_followed(self) -> None:
        chance = math.exp(-MARGIN - 1)
        model = says(((A, A), 1 - chance), ((B, B), chance))
        found(model, (C, D))
        assert all(len(texts) == 1 for texts in model.asked)

    def test_of_texts_that_go_on_alike_only_the_better_one_is_followed(self) -> None:
        model = says(((A, C, D, E, F), 0.55), ((B, C, D, E, F), 0.45))
        assert found(model, (E, A)) == (A, C, D, E, F)
        assert [len(texts) for texts in model.asked] == [1, 2, 2, 1, 1, 1]

    def test_texts_that_are_not_alike_in_a_phrase_do_not_go_on_alike(self) -> None:
        """B C D has the bonus of a phrase that it then leaves: until then the other is the worse one."""
        assert found(says(((A, C, D, F), 0.55), ((B, C, D, F), 0.45)), (B, C, D, E)) == (A, C, D, F)
