"""The phrases as tokens, and the bonus of a text that is in one."""

from functools import cache, reduce

import pytest

from flowpi.server.model_files import TOKENIZER, tiny
from flowpi.server.moonshine import read_vocabulary
from flowpi.server.phrases import BONUS, Match, Phrases, Tokenizer

TOKENS = ["<unk>", "<s>", "</s>", "▁Ann", "a", "bel", "▁Lee", "'", "s", "▁the"]
ANN, A, BEL, LEE, APOSTROPHE, S, THE = range(3, 10)
END = 2
BYTES = range(3, 259)
"""The tokens of the model for single bytes."""


@pytest.fixture
def phrases() -> Phrases:
    """ "Ann", "Annabel" and "Ann Lee"."""
    tokenizer = Tokenizer([token.encode() for token in TOKENS])
    return Phrases([[ANN], [ANN, A, BEL], [ANN, LEE]], tokenizer.joining)


@pytest.mark.parametrize(
    ("text", "bonus"),
    [
        ([THE], 0),
        ([ANN, END], 1),
        ([ANN, THE], 1),
        ([ANN, APOSTROPHE, S], 1),
        ([ANN, S], 0),
        ([ANN, A], 2),
        ([ANN, A, END], 0),
        ([ANN, A, S], 0),
        ([ANN, A, ANN, THE], 1),
        ([ANN, A, BEL, THE], 3),
        ([ANN, A, BEL, S], 0),
        ([ANN, LEE, THE], 2),
        ([ANN, THE, ANN, END], 2),
        ([THE, LEE], 0),
    ],
    ids=lambda value: "".join(TOKENS[token] for token in value) if isinstance(value, list) else None,
)
def test_a_phrase_that_breaks_off_leaves_no_bonus(phrases: Phrases, text: list[int], bonus: int) -> None:
    def follow(so_far: tuple[Match, float], token: int) -> tuple[Match, float]:
        match, change = phrases.follow(so_far[0], token)
        return match, so_far[1] + change

    assert reduce(follow, text, (phrases.start, 0.0))[1] == bonus * BONUS


@pytest.mark.parametrize(("text", "bonus"), [([ANN], 1), ([ANN, A], 0), ([ANN, A, BEL], 3)])
def test_a_text_that_is_cut_off_gives_the_bonus_back(phrases: Phrases, text: list[int], bonus: int) -> None:
    match, score = phrases.start, 0.0
    for token in text:
        match, change = phrases.follow(match, token)
        score += change
    assert score + match.refund == bonus * BONUS


@cache
def vocabulary() -> list[bytes]:
    return read_vocabulary((tiny() / TOKENIZER).read_bytes())


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer(vocabulary())


class TestTokenizer:
    @pytest.mark.parametrize("text", ["the", "Gabapentin", "Ossington Vale", "Zoë", "O'Brien-Smith", "A1C"])
    def test_the_tokens_are_the_text(self, tokenizer: Tokenizer, text: str) -> None:
        written = b"".join(vocabulary()[token] for token in tokenizer.tokens(text)).decode()
        assert written == "▁" + text.replace(" ", "▁")

    @pytest.mark.parametrize("text", ["A1C", "O'Brien-Smith,", "X.", "0.25"])
    def test_a_letter_is_the_token_that_the_model_writes(self, tokenizer: Tokenizer, text: str) -> None:
        """The vocabulary has another one for each byte, with the same text, for letters that have no token."""
        assert min(tokenizer.tokens(text)) > BYTES[-1]

    @pytest.mark.parametrize("text", ["the", "people", "because"])
    def test_a_common_word_is_one_token(self, tokenizer: Tokenizer, text: str) -> None:
        assert len(tokenizer.tokens(text)) == 1

    def test_a_letter_that_the_model_does_not_know(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.tokens("Ossington \U0001f600") == []
        assert not tokenizer.phrases(("Ossington \U0001f600",))

    def test_as_written_and_with_a_capital(self, tokenizer: Tokenizer) -> None:
        assert set(tokenizer.phrases(("gabapentin",)).start.node) == {
            tokenizer.tokens("gabapentin")[0],
            tokenizer.tokens("Gabapentin")[0],
        }

    def test_a_short_common_word_is_left_out(self, tokenizer: Tokenizer) -> None:
        assert not tokenizer.phrases(("the",))
        assert tokenizer.phrases(("people",)), "five letters"
        assert tokenizer.phrases(("Zoë",)), "two tokens"

    def test_none(self, tokenizer: Tokenizer) -> None:
        assert not tokenizer.phrases(())
