"""Which model speaks, by what is installed and what the configuration names."""

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from flowpi.core.errors import EngineUnavailable
from flowpi.server import model_files
from flowpi.server.model_files import (
    CONVERTED,
    FILES,
    Models,
    engine_for,
    files_of,
    final_model,
    interim_model,
    missing_packages,
    model_for,
    tiny,
)


def model(directory: Path, *files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in files or FILES:
        (directory / name).touch()
    return directory


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the Debian package would put Moonshine base; nothing is there."""
    place = tmp_path / "debian" / "base-en"
    monkeypatch.setattr(model_files, "BASE_DEBIAN", place)
    return place


def test_without_base_tiny_speaks_alone() -> None:
    assert final_model() == tiny()
    assert interim_model() is None


def test_base_of_the_debian_package(place: Path) -> None:
    model(place, *CONVERTED)
    assert final_model() == place
    assert interim_model() == tiny()


def test_base_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = model(tmp_path / "flowpi_model_base_en" / "base-en", *CONVERTED)
    (tmp_path / "flowpi_model_base_en" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert final_model() == directory


def test_half_a_base_is_none(place: Path) -> None:
    model(place, *CONVERTED[:2])
    assert final_model() == tiny()


def test_named_ones(place: Path, tmp_path: Path) -> None:
    model(place)
    models = Models(str(model(tmp_path / "mine")), str(model(tmp_path / "small")))
    assert final_model(models) == tmp_path / "mine"
    assert interim_model(models) == tmp_path / "small"


def test_the_files_say_which_engine_it_is_for(tmp_path: Path) -> None:
    assert engine_for(model(tmp_path / "moonshine")) == "moonshine"
    with pytest.raises(EngineUnavailable) as caught:
        engine_for(model(tmp_path / "other", "model.bin"))
    assert str(caught.value) == (
        f"{tmp_path}/other has no complete model of a known kind: let server.model name a directory with "
        "encoder_model.onnx, decoder_model.onnx, tokenizer.bin (moonshine); or encoder_model.ort, "
        "decoder_model_merged.ort, tokenizer.bin (moonshine); or model.bin, config.json, vocabulary.* (whisper); or "
        "encoder*.onnx, decoder*.onnx, joiner*.onnx, tokens.txt (sherpa); or model*.onnx, tokens.txt (sherpa); or "
        "set it to null"
    )


WHISPER = "model.bin", "config.json", "vocabulary.json"


@pytest.mark.parametrize(
    ("engine", "files"),
    [
        ("moonshine", FILES),
        ("moonshine", CONVERTED),
        ("whisper", WHISPER),
        ("whisper", (*WHISPER, "tokenizer.json", "preprocessor_config.json")),
        ("sherpa", ("encoder-epoch-99.int8.onnx", "decoder-epoch-99.onnx", "joiner-epoch-99.onnx", "tokens.txt")),
        ("sherpa", ("model.int8.onnx", "tokens.txt", "README.md")),
    ],
)
def test_engine_by_files(tmp_path: Path, engine: str, files: tuple[str, ...]) -> None:
    directory = model(tmp_path / "model", *files)
    assert engine_for(directory) == engine
    assert model_for(engine, Models(str(directory))) == directory
    (directory / files[0]).unlink()
    with pytest.raises(EngineUnavailable, match="no complete model of a known kind"):
        engine_for(directory)
    with pytest.raises(EngineUnavailable, match=r"the speech model in .* lacks .*: let server.model name"):
        model_for(engine, Models(str(directory)))


@pytest.mark.parametrize("find", [lambda models: engine_for(final_model(models)), partial(model_for, "whisper")])
@pytest.mark.parametrize(("name", "reason"), [("typo", "No such file or directory"), ("file", "Not a directory")])
def test_a_directory_that_cannot_be_read_is_not_called_incomplete(
    tmp_path: Path, find: Callable[[Models], object], name: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineUnavailable) as caught:
        find(Models(str(tmp_path / name)))
    assert str(caught.value) == (
        f"the directory of the speech model, {tmp_path}/{name}, cannot be read ({reason}): "
        "correct server.model, or let everybody read it; the service sees nothing in /home and /root"
    )


def test_two_models_in_one_directory(tmp_path: Path) -> None:
    directory = model(tmp_path, *FILES, *WHISPER)
    with pytest.raises(EngineUnavailable) as caught:
        engine_for(directory)
    assert str(caught.value) == (
        f"{tmp_path} has models for moonshine and whisper: remove one, or let server.engine say which"
    )
    assert model_for("whisper", Models(str(directory))) == directory


def test_a_model_and_what_it_was_converted_from_in_one_directory(tmp_path: Path) -> None:
    """The quicker one is used once it is whole, and is what the doctor looks at."""
    directory = model(tmp_path, *FILES, CONVERTED[0])
    assert {path.name for path in files_of(directory, "moonshine")} == set(FILES)
    model(directory, *CONVERTED)
    assert {path.name for path in files_of(directory, "moonshine")} == set(CONVERTED)


@pytest.mark.parametrize("engine", ["whisper", "sherpa"])
def test_only_moonshine_has_an_installed_model(engine: str) -> None:
    with pytest.raises(EngineUnavailable) as caught:
        model_for(engine)
    assert str(caught.value) == f"no model for {engine} is named: let server.model name its directory"


@pytest.mark.parametrize(("engine", "package"), [("whisper", "ctranslate2"), ("sherpa", "sherpa_onnx")])
def test_packages_of_an_engine(engine: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    assert missing_packages(engine) == [package]
    assert missing_packages("moonshine") == []


def test_a_directory_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    for find in (engine_for, lambda path: model_for("whisper", Models(str(path)))):
        with pytest.raises(EngineUnavailable) as caught:
            find(Path("/home/pi/whisper"))
        assert str(caught.value) == (
            "the directory of the speech model, /home/pi/whisper, cannot be read (Permission denied): "
            "correct server.model, or let everybody read it; the service sees nothing in /home and /root"
        )
