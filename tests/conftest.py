"""What tests of several parts share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.microphone import Microphone


@pytest.fixture
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Microphone]:
    """A plugged in microphone; this process and its children find it in their ALSA library."""
    directory = tmp_path / "microphone"
    directory.mkdir()
    with Microphone(directory) as microphone:
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(microphone.config_path))
        yield microphone
