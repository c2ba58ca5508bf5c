"""What every engine of the table does, whatever its model. `echo` recognises nothing, so it is held to less.

The model of `sherpa` is one of ours, which says a syllable for whatever is loud: no real one is in the packages.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.host.cpus import usable_cpus
from flowpi.server.engines import ENGINES, Engine, Expected, Recognition, load_engine
from flowpi.server.model_files import Models
from tests import models
from tests.server import not_speech, sherpa_models
from tests.speech import librivox
from tests.waiting import PATIENCE_S

SECOND = RATE_HZ * FRAME_BYTES

TRIED: dict[str, Callable[[Path], Models]] = {
    "echo": lambda _: Models(),
    "moonshine": lambda _: models.tiny(),
    "whisper": lambda _: models.whisper(),
    "sherpa": lambda directory: Models(str(sherpa_models.sense_voice(directory / "sense-voice"))),
}
"""The model that each engine is tried with."""

UTTERANCES = 6
GROWTH_MAX_MB = 12
"""How much the resident set may grow in so many utterances after the first ones."""


def test_every_engine_is_tried() -> None:
    assert set(TRIED) == set(ENGINES)


@pytest.fixture(scope="module", params=TRIED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine(name: str, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return load_engine(name, TRIED[name](tmp_path_factory.mktemp(name)))


listening = pytest.mark.parametrize("name", [name for name in TRIED if name != "echo"], scope="module")
"""For what does not apply to an engine that hears no words."""


def said(recognition: Recognition, pcm: bytes) -> str:
    """Return the final text of audio that comes a second at a time, with interim texts on the way."""
    whole = len(pcm) // SECOND * SECOND
    for at in range(0, whole, SECOND):
        recognition.feed(pcm[at : at + SECOND])
        recognition.preview()
    recognition.hurry()
    recognition.feed(pcm[whole:])
    return recognition.finish()


def recognised(engine: Engine, pcm: bytes) -> str:
    """Return the final text of audio that comes at once: it does not depend on the speed of the machine."""
    recognition = begin(engine)
    recognition.hurry()
    recognition.feed(pcm)
    return recognition.finish()


def begin(engine: Engine) -> Recognition:
    return engine.recognition(Expected(("en",)))


def sentence() -> bytes:
    """Return the shortest sentence, 2.9 s."""
    return min((one.pcm for one in librivox()), key=len)


@listening
@pytest.mark.parametrize("kind", not_speech.KINDS)
def test_no_text_without_speech(engine: Engine, kind: str) -> None:
    assert said(begin(engine), not_speech.KINDS[kind]()) == ""


def test_no_sound_at_all(engine: Engine) -> None:
    recognition = begin(engine)
    recognition.hurry()
    assert "\n" not in recognition.finish()


@listening
def test_speech_has_a_text_in_a_language_of_the_engine(engine: Engine) -> None:
    recognition = begin(engine)
    assert said(recognition, sentence()) != ""
    assert recognition.language == "en"


def test_languages(engine: Engine) -> None:
    assert engine.languages
    assert all(re.fullmatch("[a-z]{2,3}", language) for language in engine.languages)


def test_utterances_in_two_threads_have_the_texts_that_each_has_alone(engine: Engine) -> None:
    first, second = sorted((one.pcm for one in librivox()), key=len)[:2]
    alone = [recognised(engine, pcm) for pcm in (first, second)]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda pcm: recognised(engine, pcm), (first, second))) == alone


@listening
def test_a_hurry_in_the_middle_of_interim_work_ends_it_and_changes_no_final_text(engine: Engine) -> None:
    begun = sentence()[: 2 * SECOND]  # in the middle of a word, so the final text has to be made
    recognition = begin(engine)
    recognition.feed(begun)
    assert recognition.preview_due
    previewing = threading.Thread(target=recognition.preview)
    previewing.start()
    recognition.hurry()
    previewing.join(PATIENCE_S)
    assert not previewing.is_alive()
    assert recognition.finish() == recognised(engine, begun)


def test_after_a_hurry_there_is_no_interim_work(engine: Engine) -> None:
    recognition = begin(engine)
    recognition.feed(sentence()[: 2 * SECOND])
    recognition.hurry()
    assert not recognition.preview_due
    assert recognition.preview() is None


def test_memory_does_not_grow(engine: Engine) -> None:
    def hear(utterances: int) -> float:
        for _ in range(utterances):
            recognised(engine, sentence())
        return resident_mb()

    before_mb = hear(4 * usable_cpus())  # each thread of an engine keeps what it needs
    assert hear(UTTERANCES) - before_mb <= GROWTH_MAX_MB


def resident_mb() -> float:
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) / 1024
