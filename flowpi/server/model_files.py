"""Finds the files of the recogniser's models and the packages that it needs, without loading any.

Moonshine tiny comes inside one release of the `moonshine-voice` wheel, which is never imported (that would need
PortAudio). Moonshine base is a package of its own, for Debian or for pip: `make model`. A model is code for a native
parser, so its files belong to root: nothing is ever downloaded.
"""

import fnmatch
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from flowpi.core.errors import EngineUnavailable

FILES = ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
CONVERTED = CONVERTED_ENCODER, CONVERTED_DECODER, _ = "encoder_model.onnx", "decoder_model.onnx", TOKENIZER
"""The files of a model of Moonshine: as its makers publish it, and as `model/convert.py` writes it."""

TRANSDUCER = "encoder*.onnx", "decoder*.onnx", "joiner*.onnx", "tokens.txt"
CTC = "model*.onnx", "tokens.txt"

ENGINE_FILES = {
    "moonshine": (CONVERTED, FILES),
    "whisper": (("model.bin", "config.json", "vocabulary.*"),),
    "sherpa": (TRANSDUCER, CTC),
}
"""The files by which a directory shows which engine its model is for: all of one of these sets, as patterns. The first
that is whole is used."""

AUTO = "auto"
"""The name of the engine that the model's files belong to."""

BASE_WHEEL, BASE_DEBIAN = "flowpi_model_base_en", Path("/usr/share/flowpi/models/base-en")

PACKAGES = ("numpy", "onnxruntime", "aiohttp", "jwt")
"""The packages that `flowpi serve` needs beside the model."""

ENGINE_PACKAGES = {"whisper": ("ctranslate2",), "sherpa": ("sherpa_onnx",)}
"""Those that an engine needs beside these."""

GET_IT = "pip install 'flowpi[local]'"
GET_ENGINE = {engine: f"pip install 'flowpi[{engine}]'" for engine in ENGINE_PACKAGES}


@dataclass(frozen=True)
class Models:
    """What the configuration says of models.

    Attributes:
        model, interim_model: their directories; None: what is installed.
        languages: ISO 639-1 codes of the languages that people may speak; empty: all that the model understands.
    """

    model: str | None = None
    interim_model: str | None = None
    languages: tuple[str, ...] = ()


INSTALLED = Models()


def missing_packages(engine: str = "moonshine") -> list[str]:
    """Return those packages that an engine needs and that are not installed."""
    return [name for name in (*PACKAGES, *ENGINE_PACKAGES.get(engine, ())) if importlib.util.find_spec(name) is None]


def final_model(models: Models = INSTALLED) -> Path:
    """Return the directory of the model for final texts: the named one, whatever is in it, or else base, or else tiny.

    Raises:
        EngineUnavailable: none is named, and none is installed.
    """
    return Path(models.model) if models.model else base() or tiny()


def model_for(engine: str, models: Models = INSTALLED) -> Path:
    """Return the directory of an engine's model for final texts. Only Moonshine's may be an installed one.

    Raises:
        EngineUnavailable: there is none, or it lacks a file; or a model for interim texts is named too.
    """
    if models.interim_model and engine != "moonshine":
        raise EngineUnavailable(f"server.interim_model is for moonshine, and not for {engine}", "set it to null")
    if models.model:
        return _named("server.model", models.model, engine)
    if engine != "moonshine":
        raise EngineUnavailable(f"no model for {engine} is named", "let server.model name its directory")
    return final_model(models)


def interim_model(models: Models = INSTALLED) -> Path | None:
    """Return the directory of a smaller model for interim texts, or None if there is none.

    Raises:
        EngineUnavailable: the named one is not there, or lacks a file.
    """
    if models.interim_model:
        return _named("server.interim_model", models.interim_model, "moonshine")
    smaller = _in_package("moonshine_voice", "assets", "tiny-en")
    return smaller if smaller and not _missing(smaller) and smaller != final_model(models) else None


def engine_for(directory: Path) -> str:
    """Return the name of the engine whose files are in a directory.

    Raises:
        EngineUnavailable: those of none are, or those of several; or the directory cannot be read.
    """
    _check_readable(directory, "server.model")
    engines = [engine for engine in ENGINE_FILES if not _lacking(directory, engine)]
    if len(engines) > 1:
        raise EngineUnavailable(
            f"{directory} has models for {' and '.join(engines)}", "remove one, or let server.engine say which"
        )
    if not engines:
        wanted = [f"{', '.join(files)} ({engine})" for engine, sets in ENGINE_FILES.items() for files in sets]
        raise EngineUnavailable(
            f"{directory} has no complete model of a known kind",
            f"let server.model name a directory with {'; or '.join(wanted)}; or set it to null",
        )
    return engines[0]


def files_of(directory: Path, engine: str) -> list[Path]:
    """Return the files of an engine's model in a directory that lacks none of them."""
    return sorted(path for pattern in set_of(directory, engine) for path in directory.glob(pattern))


def set_of(directory: Path, engine: str = "moonshine") -> tuple[str, ...]:
    """Return the set of files of an engine that a directory has most of."""
    return min(ENGINE_FILES[engine], key=lambda files: len(_missing(directory, files)))


def base() -> Path | None:
    """Return the directory of the installed Moonshine base, or None."""
    places = (_in_package(BASE_WHEEL, "base-en"), BASE_DEBIAN)
    return next((place for place in places if place and not _lacking(place, "moonshine")), None)


def tiny() -> Path:
    """Return the directory of the installed Moonshine tiny.

    Raises:
        EngineUnavailable: it is not installed, or lacks a file.
    """
    directory = _in_package("moonshine_voice", "assets", "tiny-en")
    if directory is None:
        raise EngineUnavailable("the speech model is not installed", GET_IT)
    return _whole(directory, GET_IT)


def _named(key: str, directory: str, engine: str) -> Path:
    wanted = "; or ".join(", ".join(files) for files in ENGINE_FILES[engine])
    _check_readable(Path(directory), key)
    return _whole(Path(directory), f"let {key} name a directory with {wanted}, or set it to null", engine)


def _check_readable(directory: Path, key: str) -> None:
    """Raise EngineUnavailable for a directory that cannot be listed, whose files would look as if they were missing."""
    try:
        os.listdir(directory)
    except OSError as error:
        raise EngineUnavailable(
            f"the directory of the speech model, {directory}, cannot be read ({error.strerror})",
            f"correct {key}, or let everybody read it; the service sees nothing in /home and /root",
        ) from error


def _whole(directory: Path, hint: str, engine: str = "moonshine") -> Path:
    if missing := _lacking(directory, engine):
        raise EngineUnavailable(f"the speech model in {directory} lacks {', '.join(missing)}", hint)
    return directory


def _lacking(directory: Path, engine: str) -> list[str]:
    """Return what a directory lacks of the set of files of an engine that it has most of."""
    return _missing(directory, set_of(directory, engine))


def _missing(directory: Path, files: tuple[str, ...] = FILES) -> list[str]:
    """Return the patterns that no file in a directory has; all if it is not there."""
    try:
        with os.scandir(directory) as entries:
            present = [entry.name for entry in entries if entry.is_file()]
    except OSError:
        present = []
    return [name for name in files if not fnmatch.filter(present, name)]


def _in_package(package: str, *path: str) -> Path | None:
    """Return a path in an installed package, or None if the package is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], *path)
