"""The sherpa engine on models of ours, and which of k2-fsa's it would make of which directory."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowpi.core.errors import EngineUnavailable
from flowpi.server import sherpa
from flowpi.server.engines import Engine, Expected, load_engine
from flowpi.server.model_files import Models
from flowpi.server.onnx_metadata import read_metadata
from flowpi.server.sherpa import SENSE_VOICE_LANGUAGES, Kind, Model, UtteranceDecoder
from tests.server import sherpa_models
from tests.speech import librivox


def speech() -> bytes:
    return min((one.pcm for one in librivox()), key=len)


def loaded(directory: Path, *languages: str) -> Engine:
    return load_engine("auto", Models(str(directory), languages=languages))


class TestSenseVoice:
    def test_it_finds_the_language_and_reports_it(self, tmp_path: Path) -> None:
        model = Model(sherpa_models.sense_voice(tmp_path))
        assert model.languages == SENSE_VOICE_LANGUAGES
        text, language = model.transcribe(speech())
        assert set(text.split()) == {"la"}
        assert language == "en"

    def test_the_only_configured_language_is_what_it_is_told(self, tmp_path: Path) -> None:
        engine = loaded(sherpa_models.sense_voice(tmp_path), "ja")
        assert engine.languages == ("ja",)
        recognition = engine.recognition(Expected())
        recognition.feed(speech())
        assert set(recognition.finish().split()) == {"la"}
        assert recognition.language == "ja"

    def test_a_language_that_it_does_not_know(self, tmp_path: Path) -> None:
        with pytest.raises(EngineUnavailable, match=r"^server.languages: the model does not understand de: "):
            loaded(sherpa_models.sense_voice(tmp_path), "de")

    def test_speed(self, tmp_path: Path) -> None:
        engine = loaded(sherpa_models.sense_voice(tmp_path / "mine"))
        assert isinstance(engine, sherpa.SherpaEngine)
        assert engine.measure().startswith("sherpa mine, en, ja, ko, yue, zh; 0.")


class TestTransducer:
    def test_zipformer(self, tmp_path: Path) -> None:
        engine = loaded(sherpa_models.transducer(tmp_path), "de", "en")
        recognition = engine.recognition(Expected(("en",)))
        recognition.feed(speech())
        assert set(recognition.finish().split()) == {"la"}
        assert recognition.language == "en"

    def test_its_languages_must_be_configured(self, tmp_path: Path) -> None:
        with pytest.raises(EngineUnavailable) as caught:
            loaded(sherpa_models.transducer(tmp_path))
        assert str(caught.value) == (
            "the model's files do not say its languages: let server.languages name them, such as [en]"
        )

    @pytest.mark.parametrize(
        ("model_type", "called"), [("zipformer2", "transducer"), ("EncDecRNNTBPEModel", "nemo_transducer")]
    )
    def test_what_sherpa_calls_it(
        self, tmp_path: Path, model_type: str, called: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = dict[str, Any]()
        monkeypatch.setattr(sherpa._from, "from_transducer", lambda **settings: given.update(settings))
        Model(sherpa_models.transducer(tmp_path, model_type), ("en",))
        assert given == {
            "encoder": str(tmp_path / "encoder-epoch-1-avg-1.int8.onnx"),
            "decoder": str(tmp_path / "decoder-epoch-1-avg-1.onnx"),
            "joiner": str(tmp_path / "joiner-epoch-1-avg-1.onnx"),
            "tokens": str(tmp_path / "tokens.txt"),
            "num_threads": 1,
            "model_type": called,
        }

    def test_one_for_a_stream_is_refused(self, tmp_path: Path) -> None:
        sherpa_models.transducer(tmp_path, decode_chunk_len=32)
        with pytest.raises(EngineUnavailable, match=r"of a kind that is not supported \(for a stream, zipformer2\)"):
            loaded(tmp_path, "en")


class TestOneNetwork:
    @pytest.mark.parametrize("model_type", sorted(set(sherpa.KINDS) - {"sense_voice_ctc"}))
    def test_which_constructor_gets_it(self, tmp_path: Path, model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
        given = dict[str, Any]()
        network = sherpa.KINDS[model_type].network
        kind = Kind(lambda **settings: given.update(settings), network)
        monkeypatch.setitem(sherpa.KINDS, model_type, kind)
        Model(sherpa_models.sense_voice(tmp_path, model_type), ("en",))
        assert given == {
            network: str(tmp_path / "model.int8.onnx"),
            "tokens": str(tmp_path / "tokens.txt"),
            "num_threads": 1,
        }

    def test_an_unknown_kind_never_reaches_the_library(self, tmp_path: Path) -> None:
        with pytest.raises(EngineUnavailable) as caught:
            loaded(sherpa_models.sense_voice(tmp_path, "telepathy"), "en")
        assert str(caught.value).startswith(
            f"the model in {tmp_path} is of a kind that is not supported (telepathy): supported are EncDecCTCModel, "
        )

    def test_the_smaller_one_of_two(self, tmp_path: Path) -> None:
        sherpa_models.sense_voice(tmp_path)
        (tmp_path / "model.onnx").write_bytes(b"never read")
        assert loaded(tmp_path).languages == SENSE_VOICE_LANGUAGES

    def test_several(self, tmp_path: Path) -> None:
        sherpa_models.sense_voice(tmp_path)
        (tmp_path / "model-old.int8.onnx").touch()
        with pytest.raises(EngineUnavailable) as caught:
            loaded(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path} has several models (model-old.int8.onnx, model.int8.onnx): leave one of them there"
        )

    def test_a_part_of_another_model(self, tmp_path: Path) -> None:
        sherpa_models.sense_voice(tmp_path)
        (tmp_path / "encoder-epoch-1.onnx").touch()
        assert loaded(tmp_path).languages == SENSE_VOICE_LANGUAGES

    @pytest.mark.parametrize("content", [b"", b"\x7fELF no model", b"\x08"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        sherpa_models.sense_voice(tmp_path)
        (tmp_path / "model.int8.onnx").write_bytes(content)
        with pytest.raises(EngineUnavailable, match=r"cannot be read|not named in its metadata"):
            loaded(tmp_path)

    def test_cut_off_in_the_middle(self, tmp_path: Path) -> None:
        path = sherpa_models.sense_voice(tmp_path) / "model.int8.onnx"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(EngineUnavailable, match=r"cannot be read \(a field goes beyond the end\)"):
            loaded(tmp_path)


class TestMetadata:
    def test_what_was_written(self, tmp_path: Path) -> None:
        metadata = read_metadata(sherpa_models.sense_voice(tmp_path) / "model.int8.onnx")
        assert metadata["model_type"] == "sense_voice_ctc"
        assert metadata["lang_ja"] == "2"
        assert len(metadata["neg_mean"].split(",")) == 560


class TestDecoder:
    def test_less_than_a_word(self, tmp_path: Path) -> None:
        model = Model(sherpa_models.sense_voice(tmp_path))
        assert model.transcribe(b"") == model.transcribe(bytes(2)) == ("", "en")

    def test_a_halt_prevents_the_next_attempt(self, tmp_path: Path) -> None:
        decoder = UtteranceDecoder(Model(sherpa_models.sense_voice(tmp_path)), "en")
        decoder.halt()
        assert decoder.attempt(speech()) is decoder.preview(speech()) is None
        assert decoder.decode(speech()) != ""

    def test_silence_has_no_language(self, tmp_path: Path) -> None:
        decoder = UtteranceDecoder(Model(sherpa_models.sense_voice(tmp_path)), "ko")
        assert decoder.decode(np.zeros(16_000, np.int16).tobytes()) == ""
        assert decoder.language == "ko"


def test_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    monkeypatch.delitem(sys.modules, "flowpi.server.sherpa")
    with pytest.raises(EngineUnavailable) as caught:
        loaded(sherpa_models.sense_voice(tmp_path))
    assert str(caught.value) == "the recogniser needs sherpa_onnx: pip install 'flowpi[sherpa]'"
