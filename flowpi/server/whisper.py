"""Whisper of any size on CTranslate2: a recogniser for almost a hundred languages, or for English alone.

Theory of operation. A segment goes through the encoder once; from what that hears come the language and the tokens.
The model was trained on windows of 30 s, and costs by the window: it gets the segment with `AFTER_S` of silence behind
it, and at least `SHORTEST_WINDOW_S` in all, which is a fourth of the time for a sentence, and hardly another text.

CTranslate2 cannot be halted, so tokens are generated `SLICE` at a time, and a halted decode ends after the encoder or
after a slice. It runs on threads of its own, which the priorities of the lanes do not reach. There are two for each
CPU, so that the interim texts, for which there is one thread for each CPU, do not keep a final text waiting.

The text of sound without speech is made up. So nothing reaches the model but what the endpointer calls speech, a text
that the model itself doubts is dropped, and one that ends in a loop is cut.
"""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.mel import log_mel, mel_filters
from flowpi.host.cpus import usable_cpus
from flowpi.server.endpointer import Endpointer
from flowpi.server.engines import Expected
from flowpi.server.languages import named, understood
from flowpi.server.loops import before_loop
from flowpi.server.measurement import cpu_ratio, speed
from flowpi.server.model_files import Models, model_for
from flowpi.server.silero import VoiceModel
from flowpi.server.streaming import StreamingRecognition

THREADS_MAX = 8
"""The limit of the threads: each keeps 15 MB, and the service may use 448 MB."""

AFTER_S = 3
"""The silence behind a segment. With less, and without any, the model adds words, or leaves some out."""

SHORTEST_WINDOW_S = 8
"""The shortest input that the model gets. In a shorter one it says a single word two to four times. Measured: of 95
prompts of one or two words, 49 right and 59 words too many without this limit, 60 and 5 with 6, 62 and none with 8."""

WINDOW_S = 30
"""The longest input of the model."""

SHORTEST = RATE_HZ // 10
"""The shortest segment, in samples, that may have a word."""

SLICE = 16
"""The number of tokens between two looks at whether to halt: a fraction of a second."""

TOKENS_MAX = 224
"""The limit of the model for one segment."""

DETECT_FROM = RATE_HZ * 3
"""The shortest segment, in samples, whose language is believed for the rest of the utterance."""

NO_SPEECH, DOUBT = 0.6, -1.0
"""A text is dropped if the model holds it likelier than this that there is no speech, and the mean logarithm of the
probabilities of its first tokens is below this: the rule of the model's authors."""


def load(models: Models) -> "WhisperEngine":
    """Load the model and return the engine.

    Raises:
        EngineUnavailable: the model is missing or cannot be read, or does not understand a configured language.
    """
    model = Model(model_for("whisper", models))
    return WhisperEngine(model, VoiceModel(), understood(models.languages, model.languages))


@dataclass(frozen=True)
class Heard:
    """What became of a segment.

    Attributes:
        language: the ISO 639-1 code of the language of the text.
    """

    text: str
    language: str


class Model:
    """The neural network, safe to use from several threads at once."""

    def __init__(self, directory: Path) -> None:
        self.name = directory.name
        threads = min(2 * usable_cpus(), THREADS_MAX)
        try:
            self._network = ctranslate2.models.Whisper(
                str(directory), device="cpu", compute_type="int8", inter_threads=threads, intra_threads=1
            )
            self._filters = mel_filters(self._network.n_mels)
            heard = self._encoded(np.zeros(RATE_HZ, np.float32))  # shows whether the network runs here at all
            self.languages = self._languages(heard)
        except (RuntimeError, ValueError) as error:
            raise EngineUnavailable(
                f"the speech model in {directory} cannot be read ({error})", _hint(error)
            ) from error

    def transcribe(self, pcm: bytes, languages: tuple[str, ...], halt: threading.Event | None = None) -> Heard | None:
        """Turn one segment of speech into text.

        Args:
            pcm: int16 mono 16 kHz, up to 27 s.
            languages: those that it may be in, at least one.
            halt: ends the decode when it is set.

        Returns:
            The text, perhaps empty, and its language; None if the decode was halted.
        """
        samples = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768
        if len(samples) < SHORTEST:
            return Heard("", languages[0])
        heard = self._encoded(samples)
        if halt and halt.is_set():
            return None
        language = languages[0] if len(languages) == 1 else self._language(heard, languages)
        tokens = self._tokens(heard, language, halt)
        return None if tokens is None else Heard(text_of(tokens), language)

    def _languages(self, heard: Any) -> tuple[str, ...]:
        if not self._network.is_multilingual:
            return ("en",)
        return tuple(sorted(token[2:-2] for token, _ in self._network.detect_language(heard)[0]))

    def _encoded(self, samples: Any) -> Any:
        silence = max(AFTER_S * RATE_HZ, SHORTEST_WINDOW_S * RATE_HZ - len(samples))
        padded = np.concatenate([samples, np.zeros(silence, np.float32)])
        spectrogram = log_mel(padded[: WINDOW_S * RATE_HZ], self._filters)
        return self._network.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(spectrogram[None])))

    def _language(self, heard: Any, languages: tuple[str, ...]) -> str:
        """Return the likeliest of some languages."""
        likely = (token[2:-2] for token, _ in self._network.detect_language(heard)[0])
        return next((language for language in likely if language in languages), languages[0])

    def _tokens(self, heard: Any, language: str, halt: threading.Event | None) -> list[str] | None:
        """Return the tokens of a text, none if there is probably no speech; None if the decode was halted."""
        task = [f"<|{language}|>", "<|transcribe|>"] if self._network.is_multilingual else []
        prompt = ["<|startoftranscript|>", *task, "<|notimestamps|>"]
        tokens = list[str]()
        for limit in range(SLICE, TOKENS_MAX + 1, SLICE):
            (result,) = self._network.generate(
                heard,
                [prompt + tokens],
                beam_size=1,
                max_length=2 * limit,  # half of it is for the tokens, with those that are known already
                suppress_blank=not tokens,
                return_scores=True,
                return_no_speech_prob=True,
            )
            if halt and halt.is_set():
                return None
            if not tokens and result.no_speech_prob > NO_SPEECH and result.scores[0] < DOUBT:
                return []
            tokens = before_loop(result.sequences[0])
            if len(tokens) < limit:
                break
        return tokens


def text_of(tokens: list[str]) -> str:
    """Return the text of tokens as GPT-2 writes them: a character for each byte. Control tokens are left out."""
    characters = "".join(token for token in tokens if not (token.startswith("<|") and token.endswith("|>")))
    text = bytes(_BYTES[character] for character in characters).decode(errors="ignore")
    return " ".join(text.replace("♪", "").split())


def _byte_of_character() -> dict[str, int]:
    """Return GPT-2's alphabet: a printable byte stands for itself, the others follow in order from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + at): byte for at, byte in enumerate(others)}


_BYTES = _byte_of_character()


def _hint(error: Exception) -> str:
    if "primitive" in str(error):  # oneDNN, on x86-64 only, writes the code that it runs
        return "let `systemctl edit flowpi-asr` set MemoryDenyWriteExecute=no in [Service]"
    return "copy it again, as faster-whisper's models are"


class WhisperEngine:
    """The recogniser.

    Args:
        languages: ISO 639-1 codes of those that people may speak, at least one.
    """

    def __init__(self, model: Model, voice: VoiceModel, languages: tuple[str, ...]) -> None:
        self._model = model
        self._voice = voice
        self.languages = languages

    def recognition(self, expected: Expected) -> StreamingRecognition:
        asked = tuple(language for language in expected.languages if language in self.languages)
        decoder = UtteranceDecoder(self._model, asked or self.languages)
        return StreamingRecognition(decoder, Endpointer(self._voice.stream()))

    def measure(self) -> str:
        halt = threading.Event()
        # Of the process, because the model runs on threads of its own: whoever speaks meanwhile is counted, too.
        ratio = cpu_ratio(lambda pcm: self._model.transcribe(pcm, ("en",), halt), halt.set, time.process_time)
        return f"whisper {self._model.name}, {named(self.languages)}; {speed(ratio)}"


class UtteranceDecoder:
    """The decoder of one utterance, in the language that the client names, or else in that of the first long segment.

    `halt` ends an attempt after the encoder's work or after `SLICE` tokens: within a fraction of what the decode needs.

    Args:
        languages: those that the utterance may be in, at least one; the usual one first.
    """

    def __init__(self, model: Model, languages: tuple[str, ...]) -> None:
        self._model = model
        self._languages = languages
        self._halt = threading.Event()
        self.language = languages[0]

    def decode(self, pcm: bytes, draft: str = "") -> str:
        return self._text(pcm, None) or ""

    def attempt(self, pcm: bytes, draft: str = "") -> str | None:
        return self._text(pcm, self._halt)

    def preview(self, pcm: bytes, draft: str = "") -> str | None:
        return self._text(pcm, self._halt)

    def halt(self) -> None:
        self._halt.set()

    def _text(self, pcm: bytes, halt: threading.Event | None) -> str | None:
        if halt and halt.is_set():
            return None
        heard = self._model.transcribe(pcm, self._languages, halt)
        if heard is None:
            return None
        self.language = heard.language
        if len(pcm) >= DETECT_FROM * FRAME_BYTES and heard.text:
            self._languages = (heard.language,)
        return heard.text
