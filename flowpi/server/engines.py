"""What a recogniser is, and the table of those there are.

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
    """One utterance on its way to text."""

    def feed(self, pcm: bytes) -> str | None:
        """Hear more.

        Args:
            pcm: int16 little-endian mono 16 kHz, any length.

        Returns:
            The whole text so far if it is worth showing anew, else None.
        """

    def finish(self) -> str:
        """No more comes: the whole text, empty if nobody spoke. Called once."""

    def hurry(self) -> None:
        """`finish` is about to be called: give up any interim work in progress, and begin no more.

        Called from another thread, at any moment, even before a `feed` that is still due.
        """


class Engine(Protocol):
    """A recogniser, loaded."""

    @property
    def language(self) -> str:
        """ISO 639-1 code of what it understands."""

    def recognition(self, language: Sequence[str]) -> Recognition:
        """Begin an utterance. `language`: what the client asked for, best first; empty for any."""


class EchoEngine:
    """Understands nothing and names all that it hears, so that a test can prove that every sample arrived."""

    language = "en"

    def recognition(self, language: Sequence[str]) -> "EchoRecognition":
        return EchoRecognition()


class EchoRecognition:
    """Interim texts, once a second of audio: `echo 2 s`. The final: `echo 3.400 s, 54400 samples, sha256 <hex>`."""

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
    # onnxruntime 1.31 makes up an id of the machine and reports to its vendor, unless told not to before it loads.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Imported here: it brings onnxruntime, which only the process that recognises pays for.
    try:
        from flowpi.server.moonshine import load
    except ImportError as error:
        raise EngineUnavailable(f"the recogniser needs {error.name}", "pip install 'flowpi[local]'") from error
    return load()


ENGINES: dict[str, Callable[[], Engine]] = {"echo": EchoEngine, "moonshine": _load_moonshine}


def load_engine(name: str) -> Engine:
    """Load the engine called `name`; takes a second or so for one with a model.

    Raises:
        UsageError: there is none of that name.
        EngineUnavailable: it, or its model, is not installed here.
    """
    if name not in ENGINES:
        raise UsageError(f"no engine is called {name!r}", f"there is {', '.join(sorted(ENGINES))}")
    return ENGINES[name]()
