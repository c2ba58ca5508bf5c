"""Human speech with its text, for tests and benches, and how a recognised text is judged against it."""

import importlib.util
import re
import wave
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import soxr

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
"""Debian's pocketsphinx-testdata: five sentences of "Sense and Sensibility", LibriVox, public domain."""


@dataclass(frozen=True)
class Recording:
    name: str
    pcm: bytes
    """int16 mono 16 kHz."""
    text: str
    """What is really said."""

    def part(self, start_s: float, end_s: float) -> bytes:
        return self.pcm[int(start_s * RATE_HZ) * FRAME_BYTES : int(end_s * RATE_HZ) * FRAME_BYTES]


@cache
def two_cities() -> Recording:
    """The opening of "A Tale of Two Cities", 44 s, out of the wheel that the model comes in."""
    spec = importlib.util.find_spec("moonshine_voice")
    assert spec is not None, "pip install 'flowpi[local]'"
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "assets", "two_cities.wav")
    text = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was the season of light, it was the season of "
        "darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had "
        "nothing before us, we were all going direct to heaven, we were all going direct the other way. In short, the "
        "period was so far like the present period, that some of its noisiest authorities insisted on its being "
        "received, for good or for evil, in the superlative degree of comparison only."
    )
    return Recording("two_cities", read_wav(path), text)


@cache
def librivox() -> list[Recording]:
    """Five sentences, 2.9 to 7 s each, read by one woman.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    lines = (LIBRIVOX / "transcription").read_text().splitlines()
    recordings = []
    for line in lines:
        match = re.fullmatch(r"<s> (.*) </s> \((.*)\)", line)
        assert match, line
        text = match[1].replace("a more a amiable", "a more amiable")  # the reference stutters, the reader does not
        recordings.append(Recording(match[2][-4:], read_wav(LIBRIVOX / f"{match[2]}.wav"), text))
    return recordings


def read_wav(path: Path) -> bytes:
    """Any int16 WAV as int16 mono 16 kHz."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        mono = samples.astype(np.float32).mean(axis=1) / 32_768
        if file.getframerate() != RATE_HZ:
            mono = soxr.resample(mono, file.getframerate(), RATE_HZ)
    return bytes((mono * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())


def normalised(text: str) -> str:
    """The one normalisation: lower case; "mr" spelt out; a hyphen is a space; letters and spaces only."""
    text = re.sub(r"\bmr\b", "mister", text.lower().replace("-", " "))
    return " ".join(re.sub(r"[^a-z ]", "", text).split())


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Substituted, missing and added words, over the words of the reference, 0 to 1 and beyond; both normalised."""
    return float(jiwer.wer(normalised(reference), normalised(hypothesis)))
