"""Human speech with its text, for tests and benches, and how a recognised text is judged against it."""

import importlib.util
import re
import subprocess
import tempfile
import wave
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Self

import jiwer
import numpy as np
import soxr

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ

POCKETSPHINX = Path("/usr/share/pocketsphinx/test/data")
"""Debian's pocketsphinx-testdata: sentences of an audio book, and commands."""


WORD_ERRORS_MAX = {"tiny": 0.035, "base": 0.02}
"""The word error rate that each model may have in the whole path, from the file to the text, over `human` and the
prompts of `tests/prompts.py`. Measured over all of these 3214 words: tiny 3.2 % (with a confidence of 95 % between 2.4
and 4.2 %), base 1.2 % (0.7 to 1.9 %), with 1.7 to 1.8 times the CPU time of tiny."""


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
def human() -> list[Recording]:
    """All recordings of people: a story, a book, a poem and commands, 244 words."""
    return [two_cities(), beckett(), *librivox(), *commands()]


@cache
def two_cities() -> Recording:
    """The opening of "A Tale of Two Cities", 44 s, out of the wheel that the model comes in.

    The book has "the season", twice. Recognisers of two families, one of them given no choice but "a" and "the", hear
    that the reader says "a season" both times.
    """
    text = (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was a season of light, it was a season of "
        "darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had "
        "nothing before us, we were all going direct to heaven, we were all going direct the other way. In short, the "
        "period was so far like the present period, that some of its noisiest authorities insisted on its being "
        "received, for good or for evil, in the superlative degree of comparison only."
    )
    return Recording("two_cities", read_wav(_in_the_wheel("two_cities.wav")), text)


@cache
def beckett() -> Recording:
    """Twelve words of "Worstward Ho", 10 s, out of the same wheel."""
    text = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    return Recording("beckett", read_wav(_in_the_wheel("beckett.wav")), text)


def _in_the_wheel(name: str) -> Path:
    spec = importlib.util.find_spec("moonshine_voice")
    assert spec is not None, "pip install 'flowpi[local]'"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "assets", name)


@cache
def librivox() -> list[Recording]:
    """Five sentences of "Sense and Sensibility", 2.9 to 7 s each, read by one woman for LibriVox, public domain."""
    stutter = "a more a amiable", "a more amiable"  # the reference stutters, the reader does not
    return _transcribed(POCKETSPHINX / "librivox" / "transcription", stutter)


@cache
def commands() -> list[Recording]:
    """Nine commands of 1 to 4 s: playing cards, numbers, and what a robot should do."""
    texts = {
        "goforward": "go forward ten meters",
        "something": "go somewhere and do something",
        "numbers": "thirty three four six ninety two",
        "tidigits/dhd.2934z": "two nine three four zero",
    }
    cards = _transcribed(POCKETSPHINX / "cards" / "cards.transcription")
    return cards + [Recording(name, (POCKETSPHINX / f"{name}.raw").read_bytes(), text) for name, text in texts.items()]


def _transcribed(transcription: Path, *corrections: tuple[str, str]) -> list[Recording]:
    """Return the recordings that a file of pocketsphinx names and transcribes."""
    recordings = []
    for line in transcription.read_text().splitlines():
        match = re.fullmatch(r"<s> (.*\S) +</s> \((.*)\)", line)
        assert match, line
        text = match[1]
        for wrong, right in corrections:
            text = text.replace(wrong, right)
        recordings.append(Recording(match[2][-4:], read_wav(transcription.with_name(f"{match[2]}.wav")), text))
    return recordings


def read_wav(path: Path) -> bytes:
    """Any int16 WAV as int16 mono 16 kHz."""
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())
        mono = samples.astype(np.float32).mean(axis=1) / 32_768
        if file.getframerate() != RATE_HZ:
            mono = soxr.resample(mono, file.getframerate(), RATE_HZ)
    return bytes((mono * 32_767).clip(-32_768, 32_767).astype("<i2").tobytes())


def espeak(text: str, language: str) -> bytes:
    """Return a text as Debian's espeak-ng says it slowly, in a language by its ISO 639-1 code: int16 mono 16 kHz."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", language, "-s", "110", "-w", file.name, text], check=True)
        return read_wav(Path(file.name))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Return the word errors over the words of the reference: 0 to 1, and beyond."""
    return WordErrors.between(reference, hypothesis).rate


@dataclass(frozen=True)
class WordErrors:
    errors: int
    """The words that are wrong, missing or added."""
    words: int
    """The words of the reference."""

    @classmethod
    def between(cls, reference: str, hypothesis: str) -> Self:
        """Compare what was said with what was heard.

        Only errors of hearing count. Both texts are normalised, and words that one text writes joined and the other
        apart are the same words.
        """
        said, heard = normalised(reference).split(), normalised(hypothesis).split()
        chunks = jiwer.process_words(" ".join(said), " ".join(heard)).alignments[0]
        said_again, heard_again = list[str](), list[str]()
        for _, group in groupby(chunks, key=lambda chunk: chunk.type == "equal"):
            here = list(group)
            words = said[here[0].ref_start_idx : here[-1].ref_end_idx]
            others = heard[here[0].hyp_start_idx : here[-1].hyp_end_idx]
            said_again += joined(words, others)
            heard_again += joined(others, words)
        found = jiwer.process_words(" ".join(said_again), " ".join(heard_again))
        return cls(found.substitutions + found.deletions + found.insertions, len(said_again))

    @property
    def rate(self) -> float:
        return self.errors / self.words


def total(each: Iterable[WordErrors]) -> WordErrors:
    """Return the word errors of all recordings together."""
    found = list(each)
    return WordErrors(sum(one.errors for one in found), sum(one.words for one in found))


def interval(each: Sequence[WordErrors]) -> tuple[float, float]:
    """Return the interval that has the word error rate of such recordings with a confidence of 95 %: a bootstrap."""
    errors, words = (np.array(numbers) for numbers in zip(*((one.errors, one.words) for one in each), strict=True))
    drawn = np.random.default_rng(0).integers(len(each), size=(5000, len(each)))
    low, high = np.percentile(errors[drawn].sum(axis=1) / words[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def normalised(text: str) -> str:
    """Return the text with one form of what is spoken alike: case, contractions, titles, numbers, spellings.

    Punctuation and fillers ("um") are left out. It is the normaliser of Whisper's published word error rates, but each
    digit of a number counts as a word.
    """
    return re.sub(r"(?<=\d)(?=\d)", " ", _whisper_normaliser()(text))


@cache
def _whisper_normaliser() -> Callable[[str], str]:
    from whisper_normalizer.english import EnglishTextNormalizer  # late: it needs half a second

    normaliser: Callable[[str], str] = EnglishTextNormalizer()
    return normaliser


def joined(words: Sequence[str], others: Collection[str]) -> list[str]:
    """Return `words`, with neighbours as one word where `others` has them as one."""
    result, at = list[str](), 0
    while at < len(words):
        ends = (end for end in range(len(words), at + 1, -1) if "".join(words[at:end]) in others)
        end = next(ends, at + 1)
        result.append("".join(words[at:end]))
        at = end
    return result
