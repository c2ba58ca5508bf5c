"""The interface of a recogniser, and the table of the engines.

An engine is loaded once and makes one `Recognition` for each utterance. Both are called on worker threads by
`app.py`, never on the loop; one recognition is never called from two threads at once, except `hurry`.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from flowpi.core.errors import EngineUnavailable, UsageError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ


class Recognition(Protocol):
    """The recognition of one utterance."""

    def feed(self, pcm: bytes) -> str | None:
        """Recognise more audio of the utterance.

        Args:
            pcm: int16 little-endian mono 16 kHz, any length.

        Returns:
            The whole text so far if it should be shown again, else None.
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
    def language(self) -> str:
        """The ISO 639-1 code of the language that the engine understands."""

    def recognition(self, language: Sequence[str]) -> Recognition:
        """Begin an utterance.

        Args:
            language: the languages that the client accepts, best first; empty for any.
        """


class EchoEngine:
    """An engine that returns the length and hash of the audio, so that a test can prove that every sample arrived."""

    language = "en"

    def recognition(self, language: Sequence[str]) -> "EchoRecognition":
        return EchoRecognition()


class EchoRecognition:
    """The recognition of `EchoEngine`.

    An interim text, one per second of audio, is `echo 2 s`; the final `echo 3.400 s, 54400 samples, sha256 <hex>`.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._samples = 0

    def feed(self, pcm: bytes) -> str | None:
        self._digest.update(pcm)
        before_s = self._samples // RATE_HZ
        self._samples += len(pcm) // FRAME_BYTES
        now_s = self._samples // RATE_HZ
        return f"echo {now_s} s" if now_s > before_s else None

    def finish(self) -> str:
        duration_s = self._samples / RATE_HZ
        return f"echo {duration_s:.3f} s, {self._samples} samples, sha256 {self._digest.hexdigest()}"

    def hurry(self) -> None:
        pass


def _load_moonshine() -> Engine:
    # onnxruntime 1.31 creates an id of the machine and reports to its vendor, unless this is set before it loads.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Imported here, so that only the process that recognises loads onnxruntime.
    try:
        from flowpi.server.moonshine import load
    except ImportError as error:
        raise EngineUnavailable(f"the recogniser needs {error.name}", "pip install 'flowpi[local]'") from error
    return load()


ENGINES: dict[str, Callable[[], Engine]] = {"echo": EchoEngine, "moonshine": _load_moonshine}


def load_engine(name: str) -> Engine:
    """Load the engine called `name`; an engine with a model needs about a second.

    Raises:
        UsageError: no engine has that name.
        EngineUnavailable: the engine or its model is not installed on this machine.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}", f"there is {', '.join(sorted(ENGINES))}")
    return ENGINES[name]()
