"""The Whisper engine with the multilingual base: languages, halting, and what it does with its doubts."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ctranslate2
import pytest

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.mel import mel_filters
from flowpi.server import whisper
from flowpi.server.engines import Expected, load_engine
from flowpi.server.model_files import Models
from flowpi.server.silero import VoiceModel
from flowpi.server.whisper import SLICE, Heard, Model, UtteranceDecoder, WhisperEngine, text_of
from tests import models
from tests.prompts import sound
from tests.speech import espeak, librivox, word_error_rate

GERMAN = "Wir fahren morgen mit dem Zug nach Hamburg."


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(models.WHISPER)


@pytest.fixture(scope="module")
def german() -> bytes:
    return espeak(GERMAN, "de")


@pytest.fixture(scope="module")
def english() -> bytes:
    return max((one.pcm for one in librivox()), key=len)


class TestLanguages:
    def test_it_knows_a_hundred(self, model: Model) -> None:
        assert len(model.languages) == 99
        assert {"de", "en", "es", "fr", "ja", "zh"} <= set(model.languages)

    def test_german(self, model: Model, german: bytes) -> None:
        heard = model.transcribe(german, model.languages)
        assert heard == Heard(GERMAN, "de")

    def test_english(self, model: Model) -> None:
        longest = max(librivox(), key=lambda one: len(one.pcm))
        heard = model.transcribe(longest.pcm, model.languages)
        assert heard is not None
        assert heard.language == "en"
        assert word_error_rate(longest.text, heard.text) <= 0.2

    def test_one_that_is_named_is_not_doubted(self, model: Model, german: bytes) -> None:
        heard = model.transcribe(german, ("en",))
        assert heard is not None
        assert heard.language == "en"

    def test_the_best_of_some(self, model: Model, german: bytes) -> None:
        heard = model.transcribe(german, ("ja", "de", "en"))
        assert heard is not None
        assert heard.language == "de"


@pytest.mark.parametrize("number", ["8", "10", "19", "70"])
def test_a_word_alone_is_written_once(model: Model, number: str) -> None:
    heard = model.transcribe(sound(f"digits/{number}"), ("en",))
    assert heard is not None
    assert heard.text.strip(".!") == number


class Scripted(Model):
    """A model that notes the languages that it may choose from, and always chooses German."""

    def __init__(self) -> None:
        self.name, self.languages = "scripted", ("de", "en", "fr")
        self.allowed = list[tuple[str, ...]]()

    def transcribe(self, pcm: bytes, languages: tuple[str, ...], halt: threading.Event | None = None) -> Heard | None:
        self.allowed.append(languages)
        return Heard("Guten Tag.", "de")


class Network:
    """A network that says the same tokens again and again."""

    is_multilingual = True
    n_mels = 80

    def __init__(
        self, tokens: list[str], no_speech: float = 0.0, score: float = 0.0, at_work: Callable[[str], None] = print
    ) -> None:
        self.tokens, self.at_work, self.steps = tokens, at_work, list[str]()
        self.no_speech_prob, self.scores = no_speech, [score]
        self.sequences = list[list[str]]()
        self.window_s = 0.0

    def model(self) -> Model:
        model = Model.__new__(Model)
        model._network, model._filters = self, mel_filters(80)
        return model

    def encode(self, features: Any) -> None:
        self.window_s = features.shape[-1] / 100  # a frame each 10 ms
        self._step("encode")

    def generate(self, heard: None, prompts: list[list[str]], **options: Any) -> "tuple[Network]":
        self._step("generate")
        known = [token for token in prompts[0] if not token.startswith("<|")]
        self.sequences = [known + self.tokens]
        return (self,)

    def _step(self, name: str) -> None:
        self.steps.append(name)
        self.at_work(name)


@pytest.mark.parametrize(("seconds", "window_s"), [(1, 8), (5, 8), (6, 9), (27, 30)])
def test_the_window_is_never_so_short_that_words_are_doubled(seconds: int, window_s: int) -> None:
    network = Network([])
    network.model().transcribe(bytes(seconds * 32_000), ("en",))
    assert network.window_s == window_s


class TestLanguageOfAnUtterance:
    def test_that_of_the_first_long_segment_is_kept(self) -> None:
        model = Scripted()
        decoder = UtteranceDecoder(model, ("de", "en"))
        for seconds in (1, 3, 2, 3):
            decoder.decode(bytes(seconds * 32_000))
        assert model.allowed == [("de", "en"), ("de", "en"), ("de",), ("de",)]
        assert decoder.language == "de"

    @pytest.mark.parametrize(
        ("asked", "allowed"),
        [((), ("de", "en", "fr")), (("fr",), ("fr",)), (("it", "fr", "de"), ("fr", "de"))],
    )
    def test_what_the_client_expects(self, asked: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        model = Scripted()
        engine = WhisperEngine(model, VoiceModel(), model.languages)
        recognition = engine.recognition(Expected(asked))
        assert recognition.language == allowed[0]
        recognition._decoder.decode(bytes(32_000))
        assert model.allowed == [allowed]


class TestHalting:
    def test_the_text_is_that_of_one_go(self, model: Model, english: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        in_slices = model.transcribe(english, ("en",))
        monkeypatch.setattr(whisper, "SLICE", whisper.TOKENS_MAX)
        assert in_slices == model.transcribe(english, ("en",))
        assert in_slices is not None
        assert len(in_slices.text.split()) > SLICE

    @pytest.mark.parametrize("at", ["encode", "generate"])
    def test_it_ends_after_the_step_in_progress(self, at: str) -> None:
        halt = threading.Event()
        network = Network(["Ġla"] * SLICE, at_work=lambda step: halt.set() if step == at else None)
        assert network.model().transcribe(bytes(32_000), ("en",), halt) is None
        assert network.steps == (["encode"] if at == "encode" else ["encode", "generate"])

    def test_an_attempt_after_a_halt_does_nothing(self) -> None:
        model = Scripted()
        decoder = UtteranceDecoder(model, ("de",))
        decoder.halt()
        assert decoder.attempt(bytes(32_000)) is decoder.preview(bytes(32_000)) is None
        assert model.allowed == []
        assert decoder.decode(bytes(32_000)) == "Guten Tag."


class TestDoubt:
    @pytest.mark.parametrize(("no_speech", "score", "text"), [(0.9, -1.2, ""), (0.9, -0.5, "Hi"), (0.2, -1.2, "Hi")])
    def test_a_text_that_the_model_doubts_is_dropped(self, no_speech: float, score: float, text: str) -> None:
        network = Network(["ĠHi"], no_speech, score)
        assert network.model().transcribe(bytes(32_000), ("en",)) == Heard(text, "en")

    def test_one_that_runs_in_circles_ends_there(self) -> None:
        network = Network(["Ġa", "Ġb", "Ġc", "Ġd"] * 4)
        assert network.model().transcribe(bytes(32_000), ("en",)) == Heard("a b c d", "en")
        assert network.steps == ["encode", "generate"]

    def test_almost_no_sound_has_no_text(self) -> None:
        network = Network(["ĠHi"])
        assert network.model().transcribe(bytes(1000), ("de", "en")) == Heard("", "de")
        assert network.steps == []


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["ĠGuten", "ĠTag", "."], "Guten Tag."),
        (["ĠschÃ¶n", "<|endoftext|>"], "schön"),
        (["æĹ¥æľ", "¬èªŀ"], "日本語"),
        (["Ġâ", "Ļ", "ª", "Ġla"], "la"),
        (["Ã"], ""),
    ],
)
def test_text_of_tokens(tokens: list[str], text: str) -> None:
    assert text_of(tokens) == text


class TestLoading:
    def test_by_the_files_with_the_configured_languages(self) -> None:
        engine = load_engine("auto", models.whisper("de", "en"))
        assert isinstance(engine, WhisperEngine)
        assert engine.languages == ("de", "en")
        assert engine.measure().startswith("whisper base, de, en; 0.")

    def test_a_language_that_it_does_not_know(self) -> None:
        with pytest.raises(EngineUnavailable, match=r"^server.languages: the model does not understand xx: it"):
            load_engine("whisper", models.whisper("de", "xx"))

    def test_an_interim_model(self) -> None:
        with pytest.raises(EngineUnavailable, match=r"^server.interim_model is for moonshine, and not for whisper: "):
            load_engine("auto", Models(str(models.WHISPER), "/some/where"))

    @pytest.mark.parametrize("size", [0, 1000, 100_000])
    def test_damaged(self, tmp_path: Path, size: int) -> None:
        for name in ("config.json", "vocabulary.txt"):
            (tmp_path / name).symlink_to(models.WHISPER / name)
        with (models.WHISPER / "model.bin").open("rb") as file:
            (tmp_path / "model.bin").write_bytes(file.read(size))
        with pytest.raises(EngineUnavailable, match="cannot be read"):
            load_engine("auto", Models(str(tmp_path)))

    def test_the_kernel_forbids_what_it_does(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(step: str) -> None:
            raise RuntimeError("could not create a primitive")

        network = Network([], at_work=refuse)
        network.is_multilingual = False
        monkeypatch.setattr(ctranslate2.models, "Whisper", lambda *_, **settings: network)
        with pytest.raises(EngineUnavailable, match="MemoryDenyWriteExecute=no"):
            Model(tmp_path)

    def test_package_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ctranslate2", None)
        monkeypatch.delitem(sys.modules, "flowpi.server.whisper")
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("auto", models.whisper())
        assert str(caught.value) == "the recogniser needs ctranslate2: pip install 'flowpi[whisper]'"
