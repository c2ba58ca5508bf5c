"""The table of engines, and the texts of the echo engine."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowpi.server.engines import EchoEngine, Expected
from flowpi.server.model_files import Models
from tests import models
from tests.server import sherpa_models
from tests.waiting import PATIENCE_S


def test_echo_names_all_that_it_heard() -> None:
    recognition = EchoEngine().recognition(Expected())
    pcm = bytes(range(256)) * 425
    for at in range(0, len(pcm), 7000):
        recognition.feed(pcm[at : at + 7000])
    assert recognition.finish() == f"echo 3.400 s, 54400 samples, sha256 {hashlib.sha256(pcm).hexdigest()}"


def test_echo_interim_texts_come_once_a_second() -> None:
    recognition = EchoEngine().recognition(Expected())
    texts = [recognition.feed(bytes(16_000)) for _ in range(6)]
    assert texts == [None, "echo 1 s", None, "echo 2 s", None, "echo 3 s"]


@pytest.mark.parametrize("engine", ["moonshine", "whisper", "sherpa"])
def test_the_recogniser_tells_nobody_and_leaves_nothing_behind(tmp_path: Path, engine: str) -> None:
    model = tmp_path.with_name(f"{tmp_path.name}-model")
    chosen = {
        "moonshine": lambda: Models(),
        "whisper": lambda: models.whisper(),
        "sherpa": lambda: Models(str(sherpa_models.sense_voice(model))),
    }[engine]()
    program = (
        "import numpy; from flowpi.server.engines import Expected, load_engine;"
        "from flowpi.server.model_files import Models;"
        f"recognition = load_engine({engine!r}, {chosen!r}).recognition(Expected(('en',)));"
        "recognition.feed(numpy.random.default_rng(0).integers(-9999, 9999, 32000, 'int16').tobytes());"
        "recognition.finish()"
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    log = tmp_path.with_name(f"{tmp_path.name}-calls")
    command = [
        "strace",
        "-f",
        "-e",
        "trace=connect",
        "-e",
        "signal=none",
        "-o",
        str(log),
        sys.executable,
        "-c",
        program,
    ]
    subprocess.run(command, env=environ, cwd=Path(__file__).parents[2], check=True, timeout=2 * PATIENCE_S)
    assert list(tmp_path.iterdir()) == []
    assert "AF_INET" not in log.read_text()
