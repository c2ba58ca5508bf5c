"""What is said of a configuration that is refused."""

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
