"""The server as a process, and the recording that strangers dictate to it."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.appliance import Process

DEMO_WAV = Path(__file__).parents[2] / "flowpi" / "data" / "demo.wav"
DEMO_TEXT = DEMO_WAV.with_suffix(".txt").read_text().partition("\n")[0]
WORD_ERRORS_MAX = 0.08


@pytest.fixture(scope="package")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """As `server`; it takes only what the documents show."""
    with serving(tmp_path_factory.mktemp("strict"), "--set", "server.strict=true") as url:
        yield url


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base of the URLs of `flowpi serve` with its recogniser: ws://127.0.0.1:PORT."""
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@contextlib.contextmanager
def serving(directory: Path, *options: str) -> Iterator[str]:
    process = Process(["-m", "flowpi", "serve", "--listen", "127.0.0.1:0", *options], directory, {})
    try:
        process.notice("READY=1")
        url = re.search(r"ws://127\.0\.0\.1:\d+", process.log.read_text())
        assert url, process.log.read_text()
        yield url[0]
    finally:
        process.close()
