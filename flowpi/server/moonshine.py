"""Moonshine tiny or base (int8) on onnxruntime: a recogniser that needs no account and no network."""

import logging
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import RATE_HZ
from flowpi.server.beam import search
from flowpi.server.clips import sure_words
from flowpi.server.drafts import greedy
from flowpi.server.endpointer import Endpointer
from flowpi.server.engines import Expected
from flowpi.server.loops import before_loop
from flowpi.server.measurement import cpu_ratio, speed
from flowpi.server.model_files import GET_IT, INSTALLED, TOKENIZER, Models, interim_model, model_for
from flowpi.server.moonshine_networks import open_networks
from flowpi.server.phrases import Phrases, Tokenizer
from flowpi.server.silero import VoiceModel
from flowpi.server.streaming import StreamingRecognition

log = logging.getLogger(__name__)

BEGIN, END = 1, 2
"""The control tokens; tokens up to END are no text."""

EMPTY_LEAD = 1.1
"""In nats: how far the end must lead at a text's beginning, or else sound with a voice in it would have no text. Base
gives it 0.2 for seven seconds of a reader, and at least 2.3 for noise, music and silence. Tiny never gives it."""

TOKENS_PER_S = 6.5
"""The limit given by the model's authors: beyond it the model repeats itself."""

RENAMED = {"last_hidden_state": "encoder_hidden_states"}
"""The outputs of the networks that have another name as an input of the decoder. In others, it is the past now."""

SHORTEST = RATE_HZ // 10
"""The shortest input, in samples; the encoder's convolutions fail on much less."""


INTERIM_RATIO_MAX = 0.1
"""The CPU time per time of speech up to which a model is quick enough for interim texts: the open segment is decoded
anew each time, 4 s of it in 0.4 s."""


def load(models: Models = INSTALLED) -> "MoonshineEngine":
    """Load the models and return the engine. A smaller one that is only installed is loaded when `measure` wants it.

    Raises:
        EngineUnavailable: a model is missing or cannot be read.
    """
    smaller = interim_model(models)
    model, voice = Model(model_for("moonshine", models)), VoiceModel()
    languages = models.languages or ("en",)
    if smaller and models.interim_model:
        return MoonshineEngine(model, voice, interim=Model(smaller), languages=languages)
    return MoonshineEngine(model, voice, smaller=smaller, languages=languages)


class Model:
    """The neural network, safe to use from several threads at once."""

    def __init__(self, directory: Path) -> None:
        self.name = directory.name
        try:
            self._encoder, self._decoder = open_networks(directory)
            past = [put for put in self._decoder.get_inputs() if put.name.startswith("past_key_values")]
            if not past:  # others export a decoder of this name that reads the whole text at each step
                raise ValueError("its decoder takes no past_key_values")
            self._vocabulary = read_vocabulary((directory / TOKENIZER).read_bytes())
            self._tokenizer = Tokenizer(self._vocabulary)
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise EngineUnavailable(f"the speech model in {directory} cannot be read ({error})", GET_IT) from error
        self._encoder_inputs, self._decoder_inputs = (
            {put.name for put in session.get_inputs()} for session in (self._encoder, self._decoder)
        )
        shapes = {put.name: [size if isinstance(size, int) else 0 for size in put.shape[1:]] for put in past}
        self._empty_cache = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
        self._heard_names, (_, *self._cache_names) = (
            [RENAMED.get(put.name, put.name.replace("present", "past_key_values")) for put in session.get_outputs()]
            for session in (self._encoder, self._decoder)
        )

    def transcribe(
        self, pcm: bytes, run: "DecodeRun | None" = None, phrases: tuple[str, ...] = (), *, draft: str = ""
    ) -> str | None:
        """Turn one segment of speech into text.

        Args:
            pcm: int16 mono 16 kHz, up to about 30 s.
            run: the handle that can halt the decode.
            phrases: names and words to listen for, which make it search longer.
            draft: what the text will probably be much like. It is quicker by that, unless there are phrases.

        Returns:
            The text, perhaps empty; None if the decode was halted.
        """
        samples = _samples(pcm)
        if samples.shape[1] < SHORTEST:
            return ""
        try:
            tokens = self._tokens(samples, run.options if run else None, self._tokenizer.phrases(phrases), draft)
        except Exception:
            if run and run.halted:
                return None
            raise
        text = b"".join(self._vocabulary[token] for token in tokens if token > END).decode(errors="ignore")
        return clean(text)

    def transcribe_clip(self, pcm: bytes, *, end_only: bool) -> str:
        """Turn a clip into text without words that the model is not sure of.

        Args:
            pcm: like `transcribe`.
            end_only: whether it is cut only at its end.
        """
        samples = _samples(pcm)
        if samples.shape[1] < SHORTEST:
            return ""
        decoding = self._decoding(samples, None)
        tokens = decoding.greedy([], _most_tokens(samples))
        pieces = [self._vocabulary[token] if token > END else b"" for token in tokens]
        text = sure_words(pieces, decoding.probabilities(tokens), end_only=end_only)
        return clean(text.decode(errors="ignore"))

    def _tokens(self, samples: Any, options: Any, phrases: Phrases, draft: str) -> list[int]:
        """Decode `samples`: float32, shape (1, frames), -1 to 1."""
        decoding, limit = self._decoding(samples, options), _most_tokens(samples)
        if phrases:
            return before_loop(list(search(decoding.step, phrases, begin=BEGIN, end=END, limit=limit)))
        return decoding.greedy(self._tokenizer.tokens(draft), limit)

    def _decoding(self, samples: Any, options: Any) -> "Decoding":
        mask = np.ones(samples.shape, np.int64)  # in samples, for the decoder too
        inputs = {"input_values": samples, "attention_mask": mask}
        heard = self._encoder.run(None, _only(self._encoder_inputs, inputs), options)
        inputs = dict(zip(self._heard_names, heard, strict=True)) | {"encoder_attention_mask": mask}
        shared = self._empty_cache | _only(self._decoder_inputs, inputs)
        return Decoding(self._decoder, self._decoder_inputs, shared, self._cache_names, options)


def _samples(pcm: bytes) -> Any:
    """Return int16 PCM as the model takes it: float32, shape (1, frames), -1 to 1."""
    return np.frombuffer(pcm, np.int16).astype(np.float32)[None] / 32768


def _most_tokens(samples: Any) -> int:
    return int(samples.shape[1] / RATE_HZ * TOKENS_PER_S) + 6


def _only(names: Set[str], inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs that a network has: tiny has masks, and base has none."""
    return {name: value for name, value in inputs.items() if name in names}


class Decoding:
    """The decoder at work on one piece of audio, on several texts at once: each is a row of its batch.

    Args:
        decoder: the network.
        names: those of its inputs.
        shared: the inputs that are the same for all texts and steps: one row, which the network uses for all of them;
            and the empty cache.
        cache_names: the outputs behind the logits, by the names of the inputs that they are for.
        options: onnxruntime's, to halt a run.
    """

    def __init__(
        self, decoder: Any, names: Set[str], shared: dict[str, Any], cache_names: Sequence[str], options: Any
    ) -> None:
        self._decoder = decoder
        self._names = names
        # In the cache, what is of the encoder is the same for all texts.
        self._empty = self._own = {name: value for name, value in shared.items() if ".decoder." in name}
        self._shared = {name: value for name, value in shared.items() if name not in self._own}
        self._rows = 1
        self._cache_names = cache_names
        self._options = options
        self._begun = False

    def step(self, tokens: Sequence[int], parents: Sequence[int]) -> Any:
        """See `beam.Step`."""
        if list(parents) != list(range(self._rows)):
            self._own = {name: value[parents] for name, value in self._own.items()}
        self._rows = len(tokens)
        return self._write(np.array(tokens, np.int64)[:, None])[:, -1]

    def greedy(self, draft: Sequence[int], limit: int) -> list[int]:
        """Return the only text: see `drafts.greedy`."""
        if "use_cache_branch" in self._names:
            draft = ()  # as it is published, the decoder takes one token at a time when there are others before it
        return greedy(self._likeliest, draft, begin=BEGIN, end=END, limit=limit)

    def _likeliest(self, tokens: Sequence[int], kept: int) -> Sequence[int]:
        """See `drafts.Likeliest`."""
        self._own = {name: value[:, :, :kept] for name, value in self._own.items()}
        likeliest: list[int] = self._write(np.array([tokens], np.int64))[0].argmax(axis=-1).tolist()
        return likeliest

    def _write(self, ids: Any) -> Any:
        """Write tokens behind those in the cache: shape (texts, tokens); return the logits behind each."""
        logits, present = self._run(ids, self._own)
        self._own = {name: value for name, value in present.items() if ".decoder." in name}
        if not self._begun:  # the encoder's part is complete after the first step
            self._shared |= {name: value for name, value in present.items() if name not in self._own}
            first = logits[0, 0]
            if first[END] < np.delete(first, END).max() + EMPTY_LEAD:
                first[END] = -np.inf  # a search would yet choose it, if all that was said is unlikely
        self._begun = True
        return logits

    def probabilities(self, tokens: Sequence[int]) -> list[float]:
        """Return the probability of each token of a text after those before it, however they were found."""
        self._begun = False
        logits, _ = self._run(np.array([[BEGIN, *tokens[:-1]]], np.int64), self._empty)
        weights = np.exp(logits[0] - logits[0].max(axis=-1, keepdims=True))
        shares = weights / weights.sum(axis=-1, keepdims=True)
        return [float(share[token]) for share, token in zip(shares, tokens, strict=False)]

    def _run(self, ids: Any, own: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return the logits behind each token, and the cache."""
        inputs = _only(self._names, {"input_ids": ids, "use_cache_branch": np.array([self._begun])})
        logits, *present = self._decoder.run(None, inputs | self._shared | own, self._options)
        return logits, dict(zip(self._cache_names, present, strict=True))


class DecodeRun:
    """A handle that halts a decode from another thread, within 20 ms at any stage."""

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()

    @property
    def halted(self) -> bool:
        return bool(self.options.terminate)

    def halt(self) -> None:
        self.options.terminate = True


def read_vocabulary(data: bytes) -> list[bytes]:
    """Return the tokens by number. Each is stored as its length (one byte; two if the top bit is set) and its UTF-8."""
    tokens, at = list[bytes](), 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = data[at] * 128 + length - 128, at + 1
        tokens.append(data[at : at + length])
        at += length
    return tokens


def clean(text: str) -> str:
    """Return the model's output without its artefacts: notes for audio without words, two commas at a pause."""
    return " ".join(text.replace("\u2581", " ").replace("♪", "").replace(",,", ",").split())


class MoonshineEngine:
    """The recogniser.

    Args:
        model: the model for final texts.
        voice: the model that finds the voice.
        interim: the model for interim texts; None: `model`, until `measure` chooses `smaller`.
        smaller: the directory of a model that `measure` may choose.
        languages: ISO 639-1 codes of those that the model understands.
    """

    def __init__(
        self,
        model: Model,
        voice: VoiceModel,
        *,
        interim: Model | None = None,
        smaller: Path | None = None,
        languages: tuple[str, ...] = ("en",),
    ) -> None:
        self.languages = languages
        self._model = model
        self._voice = voice
        self._interim = interim
        self._smaller = smaller

    def recognition(self, expected: Expected) -> StreamingRecognition:
        language = next((one for one in expected.languages if one in self.languages), self.languages[0])
        decoder = UtteranceDecoder(self._model, self._interim or self._model, language, expected.phrases)
        return StreamingRecognition(decoder, Endpointer(self._voice.stream()))

    def measure(self) -> str:
        run = DecodeRun()
        ratio = cpu_ratio(lambda pcm: self._model.transcribe(pcm, run), run.halt)
        if self._interim is None and self._smaller is not None and ratio > INTERIM_RATIO_MAX:
            try:
                self._interim = Model(self._smaller)
            except EngineUnavailable as error:  # the final texts do not need it
                log.warning("%s", error)
        interim = f", {self._interim.name} for interim texts" if self._interim else ""
        return f"moonshine {self._model.name}{interim}; {speed(ratio)}"


class UtteranceDecoder:
    """The decoder of one utterance: the shared models, and a handle to halt its attempts.

    Args:
        phrases: what to listen for in final texts; interim ones must come quickly.
    """

    def __init__(self, model: Model, interim: Model, language: str, phrases: tuple[str, ...] = ()) -> None:
        self.language = language
        self._model = model
        self._interim = interim
        self._phrases = phrases
        self._run = DecodeRun()

    def decode(self, pcm: bytes, draft: str = "") -> str:
        return self._model.transcribe(pcm, phrases=self._phrases, draft=draft) or ""

    def decode_cut(self, pcm: bytes, *, end_only: bool) -> str:
        return self._model.transcribe_clip(pcm, end_only=end_only)

    def attempt(self, pcm: bytes, draft: str = "") -> str | None:
        return self._model.transcribe(pcm, self._run, self._phrases, draft=draft)

    def preview(self, pcm: bytes, draft: str = "") -> str | None:
        return self._interim.transcribe(pcm, self._run, draft=draft)

    def halt(self) -> None:
        self._run.halt()
