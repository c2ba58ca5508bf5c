"""What tests of several parts share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.microphone import Microphone

CANARY = "canary"
"""In every key that a test uses."""

leaks: list[str] = []
"""Log lines of the running test that hold a key."""


class Net(logging.Handler):
    """Catches keys in what is logged at any level; the libraries of a test's own servers may log theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage() + str(record.exc_info or "")
        if CANARY in text and not record.name.startswith(("websockets.server", "aiohttp")):
            leaks.append(text)


@pytest.fixture(autouse=True)
def no_key_is_logged() -> Iterator[None]:
    """P8, for all tests: DEBUG is on, and no line holds a key."""
    root, net = logging.getLogger(), Net(logging.DEBUG)
    level = root.level
    root.addHandler(net)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(net)
    root.setLevel(level)
    found, leaks[:] = leaks[:], []
    assert not found


@pytest.fixture
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Microphone]:
    """A plugged in microphone; this process and its children find it in their ALSA library."""
    directory = tmp_path / "microphone"
    directory.mkdir()
    with Microphone(directory) as microphone:
        monkeypatch.setenv("ALSA_CONFIG_PATH", str(microphone.config_path))
        yield microphone
