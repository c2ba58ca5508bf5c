"""The interface of a recogniser, and the table of the engines.

An engine is loaded once and makes one `Recognition` for each utterance. Both are called on worker threads by
`app.py`, never on the loop; one recognition is never called from two threads at once, except `hurry`.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flowpi.core.errors import EngineUnavailable, UsageError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.model_files import AUTO, GET_ENGINE, GET_IT, INSTALLED, Models, engine_for, final_model


@dataclass(frozen=True)
class Expected:
    """What a client tells of an utterance before its sound.

    Attributes:
        languages: ISO 639-1 codes of the languages that it may be in, best first; empty for any.
        phrases: names and words that may occur in it, as they are written.
    """

    languages: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


class Recognition(Protocol):
    """The recognition of one utterance."""

    @property
    def language(self) -> str:
        """The ISO 639-1 code of the language of its texts, as far as it is known by now."""

    def feed(self, pcm: bytes) -> str | None:
        """Recognise more audio of the utterance, as far as this is work that `finish` need not do again.

        Args:
            pcm: int16 little-endian mono 16 kHz, any length.

        Returns:
            The whole text so far if it should be shown again, else None.
        """

    @property
    def preview_due(self) -> bool:
        """Whether it is time for `preview`."""

    def preview(self) -> str | None:
        """Recognise what is being said at this moment, for an interim text only; return the same as `feed`.

        It may be called late or never, and then with more audio or when none is due any more.
        """

    def finish(self) -> str:
        """End the utterance and return the whole text, empty if it has no speech. Called once."""

    def hurry(self) -> None:
        """Abort interim work in progress and begin no more, because `finish` is about to be called.

        Called from another thread, at any moment, even before a `feed` that is still to come.
        """


class Engine(Protocol):
    """A loaded recogniser."""

    @property
    def languages(self) -> tuple[str, ...]:
        """The ISO 639-1 codes of the languages that the engine understands."""

    def recognition(self, expected: Expected) -> Recognition:
        """Begin an utterance. If `expected` names languages, the engine understands one of them."""


@runtime_checkable
class Measuring(Protocol):
    """An engine that chooses how it works by the speed of the machine."""

    def measure(self) -> str:
        """Measure the machine, choose, and return a line that says what was chosen.

        Called once, on a worker thread, while the engine may be in use already. It ends within a few seconds.
        """


class EchoEngine:
    """An engine that returns the length and hash of the audio, so that a test can prove that every sample arrived."""

    languages = ("en",)

    def recognition(self, expected: Expected) -> "EchoRecognition":
        return EchoRecognition()


class EchoRecognition:
    """The recognition of `EchoEngine`.

    An interim text, one per second of audio, is `echo 2 s`; the final `echo 3.400 s, 54400 samples, sha256 <hex>`.
    """

    language = "en"

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._samples = 0

    def feed(self, pcm: bytes) -> str | None:
        self._digest.update(pcm)
        before_s = self._samples // RATE_HZ
        self._samples += len(pcm) // FRAME_BYTES
        now_s = self._samples // RATE_HZ
        return f"echo {now_s} s" if now_s > before_s else None

    @property
    def preview_due(self) -> bool:
        return False

    def preview(self) -> str | None:
        return None

    def finish(self) -> str:
        duration_s = self._samples / RATE_HZ
        return f"echo {duration_s:.3f} s, {self._samples} samples, sha256 {self._digest.hexdigest()}"

    def hurry(self) -> None:
        pass


def _load_moonshine(models: Models) -> Engine:
    from flowpi.server.moonshine import load

    return load(models)


def _load_whisper(models: Models) -> Engine:
    from flowpi.server.whisper import load

    return load(models)


def _load_sherpa(models: Models) -> Engine:
    from flowpi.server.sherpa import load

    return load(models)


# Each is imported when it is loaded, so that only the process that recognises loads its libraries.
ENGINES: dict[str, Callable[[Models], Engine]] = {
    "echo": lambda _: EchoEngine(),
    "moonshine": _load_moonshine,
    "whisper": _load_whisper,
    "sherpa": _load_sherpa,
}


def load_engine(name: str, models: Models = INSTALLED) -> Engine:
    """Load the engine called `name`, or the one that the model is for; with a model it needs about a second.

    Raises:
        UsageError: no engine has that name.
        EngineUnavailable: the engine or its model is not installed on this machine.
    """
    if name == AUTO:
        name = engine_for(final_model(models))
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}", f"there is {', '.join(sorted([AUTO, *ENGINES]))}")
    # onnxruntime 1.31 creates an id of the machine and reports to its vendor, unless this is set before it loads.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        return ENGINES[name](models)
    except ImportError as error:
        raise EngineUnavailable(f"the recogniser needs {error.name}", GET_ENGINE.get(name, GET_IT)) from error
