"""One utterance between the loop, which receives its audio, and the worker threads, where its recogniser runs.

The loop calls `add` and `hurry`; workers call `advance` and `conclude`, in any order and number: whoever comes takes
all the audio that waits, and comes to nothing once it is concluded. So the loop never waits for interim work before
it orders the final.
"""

import threading
from collections import deque
from collections.abc import Sequence

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine, Recognition


class Transcription:
    """What was heard of one utterance, and what is still to be heard."""

    def __init__(self, engine: Engine, language: Sequence[str]) -> None:
        self._engine = engine
        self._language = language
        self._recognition: Recognition | None = None
        self._worker = threading.Lock()  # held by the one at work
        self._waiting: deque[bytes] = deque()
        self._added_bytes = 0  # written by the loop only
        self._taken_bytes = 0  # written by workers only
        self._hurried = False
        self._concluded = False

    @property
    def heard_s(self) -> float:
        """Duration of all that was added."""
        return self._added_bytes / FRAME_BYTES / RATE_HZ

    @property
    def waiting_bytes(self) -> int:
        return self._added_bytes - self._taken_bytes

    def add(self, pcm: bytes) -> None:
        """Hear more. `pcm`: int16 little-endian mono 16 kHz."""
        self._waiting.append(pcm)
        self._added_bytes += len(pcm)

    def hurry(self) -> None:
        """Give up interim work, now and from now on."""
        self._hurried = True
        if self._recognition is not None:
            self._recognition.hurry()

    def advance(self) -> str | None:
        """Recognise what waits; the whole text so far if it is worth showing anew. Takes seconds; for a worker."""
        with self._worker:
            return None if self._concluded else self._begun().feed(self._take())

    def conclude(self) -> str:
        """Recognise what waits and end: the whole text. For a worker; once, after `hurry`."""
        with self._worker:
            self._concluded = True
            recognition = self._begun()
            recognition.feed(self._take())
            return recognition.finish()

    def _begun(self) -> Recognition:
        if self._recognition is None:
            self._recognition = self._engine.recognition(self._language)
            if self._hurried:  # perhaps before there was anything to hurry
                self._recognition.hurry()
        return self._recognition

    def _take(self) -> bytes:
        pieces = [self._waiting.popleft() for _ in range(len(self._waiting))]
        pcm = b"".join(pieces)
        self._taken_bytes += len(pcm)
        return pcm
