"""The server as a process, and the recording that strangers dictate to it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.appliance import Process

DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"
DEMO_TEXT = DEMO_WAV.with_suffix(".txt").read_text().partition("\n")[0]
WORD_ERRORS_MAX = 0.08


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base of the URLs of `flowpi serve --strict` with its recogniser: ws://127.0.0.1:PORT."""
    directory = tmp_path_factory.mktemp("interop")
    command = ["-m", "flowpi", "serve", "--listen", "127.0.0.1:0", "--set", "server.strict=true"]
    server = Process(command, directory, {})
    try:
        server.notice("READY=1")
        url = re.search(r"ws://127\.0\.0\.1:\d+", server.log.read_text())
        assert url, server.log.read_text()
        yield url[0]
    finally:
        server.close()
