"""The models that tests recognise with."""

from pathlib import Path

from flowpi.server import model_files
from flowpi.server.model_files import Models

BUILT = Path(__file__).parents[1] / "build"
BASE, WHISPER = BUILT / "model" / "base-en", BUILT / "whisper" / "base"


def tiny() -> Models:
    """Return Moonshine tiny, also where base is installed."""
    return Models(str(model_files.tiny()))


def base() -> Models:
    """Return Moonshine base, which `make test` converts first."""
    assert BASE.is_dir(), "run `make build/model/base-en.stamp`, which converts the model"
    return Models(str(BASE))


def whisper(*languages: str) -> Models:
    """Return the multilingual Whisper base, which `make test` puts together first."""
    assert WHISPER.is_dir(), "run `make build/whisper/base.stamp`, which joins the model"
    return Models(str(WHISPER), languages=languages)
