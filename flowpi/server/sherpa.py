"""Models of the k2 project and others on sherpa-onnx: zipformer, parakeet, SenseVoice and their relatives.

Theory of operation. The names of the files tell a transducer, which has three networks, from all others, which have
one. The metadata in the network says which it is. It is read first, because sherpa-onnx ends the whole process when it
is given another model than it expects.

sherpa-onnx can be neither halted nor told the language of a segment: a decode in progress runs to its end, and
SenseVoice finds the language itself unless `server.languages` names one alone.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sherpa_onnx

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import RATE_HZ
from flowpi.server.endpointer import Endpointer
from flowpi.server.engines import Expected
from flowpi.server.languages import named, understood
from flowpi.server.measurement import cpu_ratio, speed
from flowpi.server.model_files import TRANSDUCER, Models, model_for
from flowpi.server.onnx_metadata import read_metadata
from flowpi.server.silero import VoiceModel
from flowpi.server.streaming import StreamingRecognition

SHORTEST = RATE_HZ
"""The shortest input, in samples: some encoders fail on less, so silence is added."""

NEMO = ("EncDecRNNTBPEModel", "EncDecHybridRNNTCTCBPEModel", "EncDecCTCModelBPE", "EncDecCTCModel")
STREAMING = "decode_chunk_len"
"""An entry of the metadata that only models for a stream have."""

SENSE_VOICE_LANGUAGES = ("en", "ja", "ko", "yue", "zh")


@dataclass(frozen=True)
class Kind:
    """A kind of model with one network.

    Attributes:
        make: the constructor of the recogniser.
        network: the name of its argument for the file of the network.
        languages: those that all models of this kind know; empty if that differs.
    """

    make: Callable[..., Any]
    network: str = "model"
    languages: tuple[str, ...] = ()


_from = sherpa_onnx.OfflineRecognizer

KINDS = {
    "sense_voice_ctc": Kind(_from.from_sense_voice, languages=SENSE_VOICE_LANGUAGES),
    "zipformer2_ctc": Kind(_from.from_zipformer_ctc),
    "wenet_ctc": Kind(_from.from_wenet_ctc),
    "paraformer": Kind(_from.from_paraformer, "paraformer"),
    **dict.fromkeys(NEMO[1:], Kind(_from.from_nemo_ctc)),
}
"""The kinds of models with one network, by the `model_type` of their metadata."""

TRANSDUCERS = {
    **dict.fromkeys(("conformer", "zipformer", "zipformer2"), "transducer"),
    **dict.fromkeys(NEMO[:2], "nemo_transducer"),
}
"""What sherpa-onnx calls a transducer, by the `model_type` of the metadata of its encoder."""


def load(models: Models) -> "SherpaEngine":
    """Load the model and return the engine.

    Raises:
        EngineUnavailable: the model is missing or of a kind that is not supported, or its languages are not known.
    """
    directory = model_for("sherpa", models)
    model = Model(directory, models.languages)
    return SherpaEngine(model, VoiceModel())


class Model:
    """The recogniser of sherpa-onnx, safe to use from several threads at once.

    Args:
        languages: the configured languages; empty: all that the model knows.
    """

    def __init__(self, directory: Path, languages: tuple[str, ...] = ()) -> None:
        self.name = directory.name
        try:
            self.languages, self._recogniser = _opened(directory, languages)
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineUnavailable(
                f"the speech model in {directory} cannot be read ({error})",
                "copy it again, as sherpa-onnx's models are",
            ) from error

    def transcribe(self, pcm: bytes) -> tuple[str, str]:
        """Turn one segment of speech into text.

        Args:
            pcm: int16 mono 16 kHz, up to about 30 s.

        Returns:
            The text, perhaps empty, and the ISO 639-1 code of its language, empty if the model does not say.
        """
        samples = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768
        stream = self._recogniser.create_stream()
        stream.accept_waveform(RATE_HZ, np.pad(samples, (0, max(0, SHORTEST - len(samples)))))
        self._recogniser.decode_stream(stream)
        language = stream.result.lang.strip("<|>")
        return " ".join(stream.result.text.split()), language if language in SENSE_VOICE_LANGUAGES else ""


def _opened(directory: Path, configured: tuple[str, ...]) -> tuple[tuple[str, ...], Any]:
    """Return the languages of a model and its recogniser."""
    is_transducer = all(any(directory.glob(name)) for name in TRANSDUCER)
    network = _file(directory, "encoder" if is_transducer else "model")
    metadata = read_metadata(network)
    kind = metadata.get("model_type", "")
    if kind not in (TRANSDUCERS if is_transducer else KINDS) or STREAMING in metadata:
        what = f"for a stream, {kind}" if STREAMING in metadata else kind or "not named in its metadata"
        raise EngineUnavailable(
            f"the model in {directory} is of a kind that is not supported ({what})",
            f"supported are {', '.join(sorted({*TRANSDUCERS, *KINDS}))}, each not for a stream",
        )
    settings = {"tokens": str(directory / "tokens.txt"), "num_threads": 1}
    if is_transducer:
        languages = understood(configured, ())
        networks = {name: str(_file(directory, name)) for name in ("encoder", "decoder", "joiner")}
        return languages, _from.from_transducer(**networks, **settings, model_type=TRANSDUCERS[kind])
    languages = understood(configured, KINDS[kind].languages)
    if kind == "sense_voice_ctc":
        settings |= {"language": languages[0] if len(languages) == 1 else "auto", "use_itn": True}
    return languages, KINDS[kind].make(**{KINDS[kind].network: str(network)}, **settings)


def _file(directory: Path, name: str) -> Path:
    """Return the file of a network, the smaller one if it is there with int8 weights too.

    Raises:
        EngineUnavailable: there are several.
    """
    files = sorted(directory.glob(f"{name}*.int8.onnx")) or sorted(directory.glob(f"{name}*.onnx"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise EngineUnavailable(f"{directory} has several models ({names})", "leave one of them there")
    return files[0]


class SherpaEngine:
    """The recogniser."""

    def __init__(self, model: Model, voice: VoiceModel) -> None:
        self._model = model
        self._voice = voice
        self.languages = model.languages

    def recognition(self, expected: Expected) -> StreamingRecognition:
        language = next((one for one in expected.languages if one in self.languages), self.languages[0])
        return StreamingRecognition(UtteranceDecoder(self._model, language), Endpointer(self._voice.stream()))

    def measure(self) -> str:
        # It cannot be halted, but three seconds of speech do not take long.
        ratio = cpu_ratio(self._model.transcribe, lambda: None)
        return f"sherpa {self._model.name}, {named(self.languages)}; {speed(ratio)}"


class UtteranceDecoder:
    """The decoder of one utterance. `halt` ends no decode in progress: it prevents the next.

    Args:
        language: the ISO 639-1 code of its language, unless the model finds another.
    """

    def __init__(self, model: Model, language: str) -> None:
        self._model = model
        self._halted = threading.Event()
        self.language = language

    def decode(self, pcm: bytes, draft: str = "") -> str:
        text, language = self._model.transcribe(pcm)
        if text and language:
            self.language = language
        return text

    def attempt(self, pcm: bytes, draft: str = "") -> str | None:
        return None if self._halted.is_set() else self.decode(pcm)

    def preview(self, pcm: bytes, draft: str = "") -> str | None:
        return self.attempt(pcm)

    def halt(self) -> None:
        self._halted.set()
