"""Recordings through the whole path: files by `flowpi transcribe`, through a `flowpi serve` with the model to try."""

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.model_files import Models
from tests.bench.processes import cpu_s, memory_mb
from tests.rig.appliance import Appliance
from tests.speech import Recording, WordErrors

AS_IN_THE_UNIT = {"MALLOC_ARENA_MAX": "2"}

PATIENT = "dictation.first_result_timeout_s=600"
"""For machines that are busy with other tests."""

TOGETHER = 10
"""So many files are transcribed by one command: a start costs as much as a sentence."""


@dataclass(frozen=True)
class Heard:
    texts: list[str]
    """Of each recording."""
    errors: list[WordErrors]
    """Of each recording."""
    chosen: str
    """What the server says about its models."""
    cpu_s: float
    """The CPU time of the server from its first session on."""
    memory_mb: float
    """The resident memory of the server after the last."""


def transcribed(directory: Path, model: Models, recordings: Sequence[Recording]) -> Heard:
    """Transcribe recordings with a model. `directory` is empty."""
    files = [directory / f"{number}.wav" for number in range(len(recordings))]
    for file, recording in zip(files, recordings, strict=True):
        _write(file, recording.pcm)
    with Appliance(directory, PATIENT, environment=AS_IN_THE_UNIT) as appliance:
        server = appliance.serve("auto", None, f"server.model={model.model}")
        chosen = server.notice("STATUS=moonshine").removeprefix("STATUS=")
        pid = server.process.pid
        before_s = cpu_s([pid])
        for first in range(0, len(files), TOGETHER):
            done = appliance.run("transcribe", "--to", str(directory), *map(str, files[first : first + TOGETHER]))
            assert done.returncode == 0, done.stderr
        texts = [file.with_suffix(".txt").read_text() for file in files]
        errors = [WordErrors.between(said.text, text) for said, text in zip(recordings, texts, strict=True)]
        return Heard(texts, errors, chosen, cpu_s([pid]) - before_s, memory_mb(pid)[0])


def _write(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, FRAME_BYTES, RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm)
