"""Moonshine tiny (English, int8) on onnxruntime: a recogniser that needs no account and no network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import RATE_HZ
from flowpi.server.model_files import DECODER, ENCODER, GET_IT, TOKENIZER, model_directory
from flowpi.server.streaming import StreamingRecognition

BEGIN, END = 1, 2
"""The control tokens; tokens up to END are no text."""

TOKENS_PER_S = 6.5
"""The limit given by the model's authors: beyond it the model repeats itself."""

SHORTEST = RATE_HZ // 10
"""The shortest input, in samples; the encoder's convolutions fail on much less."""


def load() -> "MoonshineEngine":
    """Load the model and return the engine.

    Raises:
        EngineUnavailable: the model is missing or cannot be read.
    """
    return MoonshineEngine(Model(model_directory()))


class Model:
    """The neural network, safe to use from several threads at once."""

    def __init__(self, directory: Path) -> None:
        options = onnxruntime.SessionOptions()
        # A second thread gains nothing on inputs this short, and a spinning one burns the CPU between them.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # onnxruntime logs a halted run as an error
        try:
            self._encoder, self._decoder = (
                onnxruntime.InferenceSession(str(directory / name), options, providers=["CPUExecutionProvider"])
                for name in (ENCODER, DECODER)
            )
            self._vocabulary = read_vocabulary((directory / TOKENIZER).read_bytes())
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise EngineUnavailable(f"the speech model in {directory} cannot be read ({error})", GET_IT) from error
        past = [put for put in self._decoder.get_inputs() if put.name.startswith("past_key_values")]
        self._empty_cache = {put.name: np.zeros((1, put.shape[1], 0, put.shape[3]), np.float32) for put in past}
        self._cache_names = [
            put.name.replace("present", "past_key_values")
            for put in self._decoder.get_outputs()
            if put.name != "logits"
        ]

    def transcribe(self, pcm: bytes, run: "DecodeRun | None" = None) -> str | None:
        """Turn one segment of speech into text.

        Args:
            pcm: int16 mono 16 kHz, up to about 30 s.
            run: the handle that can halt the decode.

        Returns:
            The text, perhaps empty; None if the decode was halted.
        """
        samples = np.frombuffer(pcm, np.int16).astype(np.float32)[None] / 32768
        if samples.shape[1] < SHORTEST:
            return ""
        try:
            tokens = self._tokens(samples, run.options if run else None)
        except Exception:
            if run and run.halted:
                return None
            raise
        text = b"".join(self._vocabulary[token] for token in tokens if token > END).decode(errors="ignore")
        return clean(text)

    def _tokens(self, samples: Any, options: Any) -> list[int]:
        """Decode `samples`: float32, shape (1, frames), -1 to 1."""
        mask = np.ones(samples.shape, np.int64)
        (heard,) = self._encoder.run(None, {"input_values": samples, "attention_mask": mask}, options)
        cache = dict(self._empty_cache)
        token, tokens = BEGIN, list[int]()
        for step in range(int(samples.shape[1] / RATE_HZ * TOKENS_PER_S) + 6):
            inputs = {
                "input_ids": np.array([[token]], np.int64),
                "encoder_hidden_states": heard,
                "encoder_attention_mask": mask,
                "use_cache_branch": np.array([step > 0]),
            }
            logits, *present = self._decoder.run(None, inputs | cache, options)
            token = int(logits[0, -1].argmax())
            if token == END:
                break
            tokens.append(token)
            for name, value in zip(self._cache_names, present, strict=True):
                if step == 0 or ".decoder." in name:  # the encoder's part is complete after the first step
                    cache[name] = value
        return tokens


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
    language = "en"

    def __init__(self, model: Model) -> None:
        self._model = model

    def recognition(self, language: Sequence[str]) -> StreamingRecognition:
        return StreamingRecognition(UtteranceDecoder(self._model))


class UtteranceDecoder:
    """The decoder of one utterance: the shared model, and a handle to halt its attempts."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._run = DecodeRun()

    def decode(self, pcm: bytes) -> str:
        return self._model.transcribe(pcm) or ""

    def attempt(self, pcm: bytes) -> str | None:
        return self._model.transcribe(pcm, self._run)

    def halt(self) -> None:
        self._run.halt()
