"""The Moonshine engine on human speech, fed as the daemon feeds it."""

import importlib.util
import re
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowpi.core.errors import EngineUnavailable, UsageError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server import measurement, moonshine
from flowpi.server.beam import search
from flowpi.server.engines import Engine, Expected, load_engine
from flowpi.server.model_files import ENCODER, Models, tiny
from flowpi.server.moonshine import BEGIN, END, DecodeRun, Decoding, Model, MoonshineEngine, clean, read_vocabulary
from flowpi.server.phrases import Phrases
from flowpi.server.silero import VoiceModel
from tests import models
from tests.server.runs import counted_runs
from tests.speech import WORD_ERRORS_MAX, human, two_cities, word_error_rate

SECOND = RATE_HZ * FRAME_BYTES


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine("moonshine", models.tiny())


def transcribed(engine: Engine, pcm: bytes) -> str:
    """Return the text of audio that is fed one second at a time, with the rest at the commit."""
    recognition = engine.recognition(Expected(("en",)))
    whole = len(pcm) // SECOND * SECOND
    for at in range(0, whole, SECOND):
        recognition.feed(pcm[at : at + SECOND])
        if recognition.preview_due:
            recognition.preview()
    recognition.hurry()
    recognition.feed(pcm[whole:])
    return recognition.finish()


def noise(level: float, seconds: float) -> bytes:
    """Return white noise; `level` is its RMS as a fraction of 32768."""
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE_HZ)).astype("<i2").tobytes()


class TestWords:
    def test_word_error_rate(self, engine: Engine) -> None:
        texts = [transcribed(engine, recording.pcm) for recording in human()]
        reference = " ".join(recording.text for recording in human())
        assert word_error_rate(reference, " ".join(texts)) <= WORD_ERRORS_MAX["tiny"]

    def test_interim_texts_are_of_the_smaller_model_and_final_ones_of_the_larger_with_phrases(self) -> None:
        large, small = Model(tiny()), Model(tiny())
        used = list[tuple[Model, tuple[str, ...]]]()

        class Watched(Model):
            def transcribe(
                self, pcm: bytes, run: DecodeRun | None = None, phrases: tuple[str, ...] = (), *, draft: str = ""
            ) -> str | None:
                used.append((self, phrases))
                return super().transcribe(pcm, run, phrases, draft=draft)

        large.__class__ = small.__class__ = Watched
        recognition = MoonshineEngine(large, VoiceModel(), interim=small).recognition(Expected(("en",), ("Dickens",)))
        sentence = two_cities().part(0.7, 2.7)
        recognition.feed(sentence)
        recognition.preview()
        assert used == [(small, ())]
        recognition.finish()
        assert used == [(small, ()), (large, ("Dickens",))]

    @pytest.mark.parametrize("end_s", [5, 10.6, 16.8, 24.1, 28.6])
    def test_whenever_the_button_is_released(self, engine: Engine, end_s: float) -> None:
        """The shortcuts at the end cost no words, compared with the same audio decoded without hurry."""
        words = two_cities().text.split()
        text = transcribed(engine, two_cities().part(0, end_s))
        reference = " ".join(words[: len(text.split())])
        assert word_error_rate(reference, text) <= 0.1

    def test_no_two_spaces_and_no_missing_one(self, engine: Engine) -> None:
        text = transcribed(engine, two_cities().pcm)
        assert text == " ".join(text.split())
        assert "incredulity. It was a season" in text


WORD = 3


class EndsAtOnce:
    """A decoder for which the end leads over one word at the beginning, and by far behind that."""

    def __init__(self, lead: float) -> None:
        self._lead = lead

    def run(self, outputs: None, inputs: dict[str, Any], options: None) -> list[Any]:
        (token,) = inputs["input_ids"][0]
        logits = np.full((1, 1, WORD + 1), -9, np.float32)
        logits[..., WORD] = 0
        logits[0, 0, END] = self._lead if token == BEGIN else 9
        return [logits]


class Murmur:
    """A decoder for which the end leads over two words at the beginning, and behind five, of eight that may be each."""

    def __init__(self, lead: float) -> None:
        self._lead, self._count = lead, 0

    def run(self, outputs: None, inputs: dict[str, Any], options: None) -> list[Any]:
        logits = np.full((len(inputs["input_ids"]), 1, WORD + 9), -9, np.float32)
        logits[..., WORD : WORD + (8 if self._count else 2)] = 0
        logits[..., END] = {0: self._lead, 5: 9}.get(self._count, -9)
        self._count += 1
        return [logits]


class TestNoWords:
    @pytest.mark.parametrize("level", [0, 1, 30, 300, 3000])
    def test_noise(self, engine: Engine, level: float) -> None:
        assert transcribed(engine, noise(level, 3.4)) == ""

    def test_clicks(self, engine: Engine) -> None:
        quiet, click = noise(20, 0.9), noise(8000, 0.02)
        assert transcribed(engine, (quiet + click) * 4) == ""

    def test_too_short(self, engine: Engine) -> None:
        assert transcribed(engine, two_cities().part(2, 2.05)) == ""

    def test_silence_behind_the_words_adds_none(self, engine: Engine) -> None:
        sentence = two_cities().part(0.7, 4.8)
        assert transcribed(engine, sentence + noise(3, 5)) == transcribed(engine, sentence)

    @pytest.mark.parametrize(("lead", "text"), [(0.22, [WORD]), (2.37, [])])
    def test_a_text_is_empty_only_if_that_is_much_the_likeliest(self, lead: float, text: list[int]) -> None:
        """The least lead that base gives the end at the beginning of noise, and the most in speech."""
        decoding = Decoding(EndsAtOnce(lead), {"input_ids"}, {}, [], None)
        assert decoding.greedy([], limit=9) == text

    @pytest.mark.parametrize(("lead", "tokens"), [(0.22, 5), (2.37, 0)])
    def test_a_search_for_phrases_gives_up_no_unlikely_text(self, lead: float, tokens: int) -> None:
        decoding = Decoding(Murmur(lead), {"input_ids"}, {}, [], None)
        phrases = Phrases([(WORD + 8, WORD + 8)], np.zeros(WORD + 9, np.bool_))
        assert len(search(decoding.step, phrases, begin=BEGIN, end=END, limit=9)) == tokens

    @pytest.mark.parametrize(
        ("written", "text"),
        [("\u2581In\u2581short,,\u2581the", "In short, the"), ("♪", ""), ("\u2581♪\u2581♪", ""), ("a ♪  b", "a b")],
    )
    def test_habits(self, written: str, text: str) -> None:
        assert clean(written) == text


class TestModel:
    def test_halt_in_the_middle(self) -> None:
        """Halt from another thread after the decode has begun; unhalted it would need several times as long."""
        model, run = Model(tiny()), DecodeRun()
        halting = threading.Timer(0.05, run.halt)
        halting.start()
        assert model.transcribe(two_cities().part(0, 25), run) is None
        halting.join()

    def test_several_texts_at_once_share_what_was_heard(self) -> None:
        model = Model(tiny())
        samples = np.frombuffer(two_cities().part(0.7, 2.7), np.int16).astype(np.float32)[None] / 32768

        def next_tokens(*texts: int) -> list[int]:
            decoding = model._decoding(samples, None)
            first = decoding.step([BEGIN], [0])
            assert {len(value) for value in decoding._shared.values()} == {len(first)} == {1}
            found: list[int] = decoding.step(texts, [0] * len(texts)).argmax(axis=-1).tolist()
            assert {len(value) for value in decoding._shared.values()} == {1}, "the memory of many copies"
            return found

        texts = [model._tokenizer.tokens(word)[0] for word in ("It", "The", "He")]
        alone = [token for text in texts for token in next_tokens(text)]
        assert next_tokens(*texts) == alone
        assert len(set(alone)) > 1

    def test_halted_before(self) -> None:
        run = DecodeRun()
        run.halt()
        assert Model(tiny()).transcribe(two_cities().part(0, 3), run) is None

    def test_a_loop_is_stopped(self) -> None:
        """A third of a second again and again makes the model repeat itself up to its limit of 45 tokens."""
        text = Model(tiny()).transcribe(two_cities().part(6.6, 6.9) * 20)
        assert text is not None
        assert len(text.split()) < 12

    def test_a_draft_makes_it_quicker_and_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model, sentence, runs = Model(tiny()), two_cities().part(0.7, 4.8), counted_runs(monkeypatch)
        text = model.transcribe(sentence)
        assert text is not None
        for draft, runs_max in (text, 2), (text.replace(" was ", " is ", 1), 5), ("hedgehogs " * 20, len(runs)):
            runs.clear()
            assert model.transcribe(sentence, draft=draft) == text
            assert len(runs) <= runs_max

    def test_halted_with_a_draft(self) -> None:
        run = DecodeRun()
        run.halt()
        assert Model(tiny()).transcribe(two_cities().part(0, 3), run, draft="It was the best of times") is None

    @pytest.mark.parametrize("samples", [0, 1, 500])
    def test_less_than_the_encoder_takes(self, samples: int) -> None:
        assert Model(tiny()).transcribe(bytes(samples * FRAME_BYTES)) == ""

    def test_vocabulary_with_long_tokens(self) -> None:
        assert read_vocabulary(b"\x00\x01a\x82\x01" + b"x" * 130) == [b"", b"a", b"x" * 130]


class TestChoice:
    @pytest.mark.parametrize(("ratio_max", "interim"), [(0.0, ", tiny-en for interim texts"), (100.0, "")])
    def test_by_the_speed_of_the_machine(self, monkeypatch: pytest.MonkeyPatch, ratio_max: float, interim: str) -> None:
        monkeypatch.setattr(moonshine, "INTERIM_RATIO_MAX", ratio_max)
        chosen = MoonshineEngine(Model(tiny()), VoiceModel(), smaller=tiny()).measure()
        assert re.fullmatch(rf"moonshine tiny-en{interim}; \d\.\d{{3}} s of CPU for a second of speech", chosen)

    def test_without_the_smaller_one_the_larger_goes_on(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(moonshine, "INTERIM_RATIO_MAX", 0.0)
        engine = MoonshineEngine(Model(tiny()), VoiceModel(), smaller=tmp_path)
        assert engine.measure().startswith("moonshine tiny-en; ")

    def test_a_named_interim_model_stays(self) -> None:
        engine = load_engine("auto", Models(str(tiny()), str(tiny())))
        assert isinstance(engine, MoonshineEngine)
        assert ", tiny-en for interim texts;" in engine.measure()

    def test_a_measurement_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(measurement, "MEASURE_MAX_S", 0.0)
        monkeypatch.setattr(measurement, "SAMPLE_S", 6)
        assert MoonshineEngine(Model(tiny()), VoiceModel()).measure() == "moonshine tiny-en; too slow to be measured"


class TestNotThere:
    @pytest.mark.parametrize("key", ["model", "interim_model"])
    def test_named_directory_lacks_a_file(self, tmp_path: Path, key: str) -> None:
        named = Models(model=str(tmp_path)) if key == "model" else Models(interim_model=str(tmp_path))
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine", named)
        assert str(caught.value) == (
            f"the speech model in {tmp_path} lacks encoder_model.onnx, decoder_model.onnx, tokenizer.bin: "
            f"let server.{key} name a directory with encoder_model.onnx, decoder_model.onnx, tokenizer.bin; "
            "or encoder_model.ort, decoder_model_merged.ort, tokenizer.bin, or set it to null"
        )

    def test_damaged(self, tmp_path: Path) -> None:
        for file in tiny().iterdir():
            (tmp_path / file.name).symlink_to(file)
        (tmp_path / ENCODER).unlink()
        (tmp_path / ENCODER).write_bytes(b"no model")
        with pytest.raises(EngineUnavailable, match="cannot be read"):
            load_engine("auto", Models(str(tmp_path)))

    def test_wheel_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine")
        assert str(caught.value) == "the speech model is not installed: pip install 'flowpi[local]'"
        assert caught.value.exit_code == 69

    def test_package_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        for name in [name for name in sys.modules if name.startswith("flowpi.server.")]:
            if name != "flowpi.server.engines":
                monkeypatch.delitem(sys.modules, name)
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine")
        assert str(caught.value) == "the recogniser needs onnxruntime: pip install 'flowpi[local]'"


def test_unknown_engine() -> None:
    with pytest.raises(UsageError) as caught:
        load_engine("vosk")
    assert str(caught.value) == "no engine is called 'vosk': there is auto, echo, moonshine, sherpa, whisper"
