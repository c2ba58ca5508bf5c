"""What the models make of a hundred cuts of speech, and of a word alone."""

import random
from collections.abc import Callable

import numpy as np
import pytest

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine, Expected, load_engine
from flowpi.server.model_files import Models
from flowpi.server.silero import WINDOW, VoiceModel
from tests import models
from tests.speech import Recording, commands, human, normalised

LENGTHS_S = (0.3, 0.5, 0.7, 1.0)
"""Of the hundred cuts, a quarter each."""

INVENTED_MAX = 0.2
"""The share of words in the texts of all cuts that are not in what was said. A word cut in two counts as invented."""

KEPT_MIN = 50
"""How many words must stay, over all cuts: with no text at all nothing would be invented."""

FIVES_S = (0.2, 0.8), (0.87, 1.45)
"""Where somebody says "five", alone, in the command 004."""


QUIET = np.random.default_rng(1).normal(0, 3, RATE_HZ).astype("<i2").tobytes()

Hear = Callable[[bytes], str]


@pytest.fixture(scope="module", params=[models.tiny, models.base])
def hear(request: pytest.FixtureRequest) -> Hear:
    which: Callable[[], Models] = request.param
    engine: Engine = load_engine("moonshine", which())

    def text_of(pcm: bytes) -> str:
        recognition = engine.recognition(Expected(("en",)))
        recognition.hurry()
        recognition.feed(pcm)
        return recognition.finish()

    return text_of


def cuts() -> list[tuple[bytes, str]]:
    """Return a hundred clips of speech, cut anywhere, each with the text of its whole recording."""
    chance, voice = random.Random(20), VoiceModel()
    recordings = [(one, ratings(voice, one)) for one in human()]
    return [cut(chance, recordings, length_s) for length_s in LENGTHS_S for _ in range(25)]


def ratings(voice: VoiceModel, recording: Recording) -> list[float]:
    whole = len(recording.pcm) // (WINDOW * FRAME_BYTES) * WINDOW * FRAME_BYTES
    return voice.stream()(recording.pcm[:whole])


def cut(chance: random.Random, recordings: list[tuple[Recording, list[float]]], length_s: float) -> tuple[bytes, str]:
    """Cut a clip of which four fifths are voice."""
    while True:
        ((recording, rated),) = chance.choices(recordings, [len(rated) for _, rated in recordings])
        start_s = chance.uniform(0, len(recording.pcm) / FRAME_BYTES / RATE_HZ - length_s)
        windows = rated[int(start_s * RATE_HZ / WINDOW) : int((start_s + length_s) * RATE_HZ / WINDOW)]
        if sum(rating > 0.5 for rating in windows) >= 0.8 * len(windows):
            return recording.part(start_s, start_s + length_s), recording.text


def test_a_hundred_cuts(hear: Hear) -> None:
    said = invented = 0
    for pcm, reference in cuts():
        words, real = normalised(hear(pcm)).split(), set(normalised(reference).split())
        said += sum(word in real for word in words)
        invented += sum(word not in real for word in words)
    assert invented <= INVENTED_MAX * (said + invented)
    assert said >= KEPT_MIN


@pytest.mark.parametrize("margin_s", [0.05, 0.3])
@pytest.mark.parametrize("span_s", FIVES_S)
def test_a_word_alone(hear: Hear, margin_s: float, span_s: tuple[float, float]) -> None:
    pcm = (
        QUIET[: int(margin_s * RATE_HZ) * FRAME_BYTES]
        + commands()[3].part(*span_s)
        + QUIET[: int(margin_s * RATE_HZ) * FRAME_BYTES]
    )
    assert normalised(hear(pcm)) == "5"
