"""Speech for an appliance in a container, which has no sound card: the daemon hears a file."""

import wave
from pathlib import Path

from tests.rig.container import Container
from tests.speech import Recording

FINAL = "grep --no-filename . /var/lib/flowpi/transcripts/*.jsonl"
"""Fails until there is a text: the file is there a moment before its first line."""

HEARS_FILE = """\
audio: {source: wav, path: /etc/flowpi/spoken.wav, preroll_ms: 5000}
"""
"""The file plays from the daemon's start on; what was played before the press is still heard."""


def write_wav(recording: Recording, path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(recording.pcm)
    return path


def put_speech(container: Container, spoken: Path) -> None:
    container.put(spoken, "/etc/flowpi/spoken.wav")
    container.sh("chgrp flowpi /etc/flowpi/spoken.wav; chmod 640 /etc/flowpi/spoken.wav")


def speak_from_file(container: Container, spoken: Path, more: str = "") -> None:
    """Start the daemon anew, with a microphone that hears the file from then on. `more`: of the configuration."""
    put_speech(container, spoken)
    container.path("/etc/flowpi/flowpi.yaml").write_text(HEARS_FILE + more)
    container.sh("systemctl restart flowpi")
