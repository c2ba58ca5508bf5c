"""Names to listen for: both models on a voice that says them, and on people who do not; and their way to the engine."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from flowpi.audio.utterance import About, Utterance
from flowpi.backends.flow import FlowBackend
from flowpi.backends.patience import Patience
from flowpi.backends.result import Timings
from flowpi.config.backends.flow import FlowSettings
from flowpi.config.loading import load
from flowpi.core.hints import Hints
from flowpi.server.app import Server
from flowpi.server.engines import EchoEngine, EchoRecognition, Expected
from flowpi.server.moonshine import DecodeRun, Decoding, Model, MoonshineEngine
from flowpi.server.silero import VoiceModel
from tests import models
from tests.names import NAMES, OTHERS, SENTENCES, counted, names_in, spoken
from tests.sound import ID, noise
from tests.speech import human, two_cities, word_error_rate

RIGHT_MIN = 15
"""How many of the 28 names must be right. Without the list tiny has 1, and base 4; with it 20 and 21."""


@cache
def model(name: str) -> Model:
    return Model(Path((models.tiny() if name == "tiny" else models.base()).model or ""))


@pytest.mark.parametrize("name", ["tiny", "base"])
class TestWords:
    def test_names_that_are_said(self, name: str) -> None:
        heard = {said: model(name).transcribe(spoken(text), phrases=NAMES) or "" for said, text in SENTENCES.items()}
        count = counted(heard)
        assert count.right >= RIGHT_MIN
        assert count.added == []

    def test_names_that_nobody_says(self, name: str) -> None:
        text, text_with = (" ".join(heard(name, one.pcm, phrases) for one in human()) for phrases in ((), NAMES))
        assert names_in(text_with) == []
        reference = " ".join(one.text for one in human())
        one_word = 1 / len(reference.split())
        assert word_error_rate(reference, text_with) <= word_error_rate(reference, text) + one_word


def heard(name: str, pcm: bytes, phrases: tuple[str, ...]) -> str:
    """Return the final text of an utterance."""
    recognition = MoonshineEngine(model(name), VoiceModel()).recognition(Expected(("en",), phrases))
    recognition.feed(pcm)
    return recognition.finish()


class TestModel:
    def test_without_usable_phrases_the_decode_is_greedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flowpi.server.moonshine.search", None)
        pcm = two_cities().part(0.7, 4.8)
        assert model("tiny").transcribe(pcm, phrases=("the",)) == model("tiny").transcribe(pcm)

    def test_a_halt_ends_the_search(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = DecodeRun()
        asked = 0
        step = Decoding.step

        def halts(decoding: Decoding, tokens: Sequence[int], parents: Sequence[int]) -> Any:
            nonlocal asked
            if (asked := asked + 1) == 3:
                run.halt()
            return step(decoding, tokens, parents)

        monkeypatch.setattr(Decoding, "step", halts)
        assert model("tiny").transcribe(two_cities().part(0.7, 10), run, NAMES) is None
        assert asked == 3


class Told(EchoEngine):
    """An engine that remembers what it was told of each utterance."""

    def __init__(self) -> None:
        self.expected = list[Expected]()

    def recognition(self, expected: Expected) -> EchoRecognition:
        self.expected.append(expected)
        return super().recognition(expected)


NONE = Hints()


async def told(configuration: str, hints: Hints = NONE, vocabulary: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the phrases that the engine gets for a dictation of a daemon with this context."""
    engine = Told()
    async with Server(["127.0.0.1:0"], engine, vocabulary=vocabulary) as server:
        settings = FlowSettings(f"{server.urls[0]}/api/v1/dash/ws")
        context = load(None, [f"context={configuration}"]).context
        backend = FlowBackend("local", settings, context, Patience())
        utterance = Utterance(About(ID, 0.0, hints=hints), pcm=noise(1), complete=True)
        await backend.transcribe(utterance, lambda partial: None, Timings())
        await backend.close()
    (expected,) = engine.expected
    return expected.phrases


MANY = tuple(f"name{number}" for number in range(150))


class TestWayToTheEngine:
    async def test_of_the_configuration(self) -> None:
        assert await told("{dictionary_context: [Gabapentin, Dashwood], user_first_name: Ada}") == (
            "Gabapentin",
            "Dashwood",
            "Ada",
        )

    async def test_those_of_the_server_come_first(self) -> None:
        assert await told("{dictionary_context: [Dashwood, Ada]}", vocabulary=("Wexcombe", "Ada")) == (
            "Wexcombe",
            "Ada",
            "Dashwood",
        )

    async def test_those_of_the_dictation_replace_the_configured_ones(self) -> None:
        hints = Hints(terms=("Thandrel",))
        assert await told("{dictionary_context: [Dashwood], user_last_name: Lovelace}", hints) == (
            "Thandrel",
            "Lovelace",
        )

    async def test_no_more_than_two_hundred(self) -> None:
        phrases = await told(f"{{dictionary_context: [{', '.join(OTHERS)}]}}", vocabulary=MANY)
        assert len(phrases) == 200
        assert phrases[150:] == tuple(OTHERS[:50])

    async def test_none(self) -> None:
        assert await told("{}") == ()
