"""What is said of a configuration that is refused."""

import re
from pathlib import Path

import pytest

from flowpi.config.loading import load
from flowpi.core.errors import ConfigError


def refused(file: Path, text: str, *overrides: str) -> str:
    """Return the error of a file with this text, without the directory of the file."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file), overrides)
    return str(caught.value).replace(str(file), file.name)


def with_examples(reference: str) -> str:
    """Return `config/flowpi.yaml` with its examples, which are comments, as configuration."""
    return re.sub(r"^  # (?=cloud:|clinic:|  )", "  ", reference, flags=re.MULTILINE)
