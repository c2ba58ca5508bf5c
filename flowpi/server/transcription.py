"""One utterance between the loop, which receives its audio, and the worker threads, where its recogniser runs.

The loop calls `add` and `hurry`; workers call `advance`, `preview` and `conclude`, in any order and number: `advance`
consumes a slice of the waiting audio, `conclude` all of it, and the others do nothing once `conclude` has begun. So the
loop can request the final text without waiting for interim work.
"""

import threading
from collections import deque

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.engines import Engine, Expected, Recognition

SLICE_BYTES = 5 * RATE_HZ * FRAME_BYTES
"""The most that `advance` consumes: a second of work on the slowest machine that keeps up with speech."""


class Transcription:
    """The audio of one utterance that still waits, and the recognition that consumes it."""

    def __init__(self, engine: Engine, expected: Expected) -> None:
        self._engine = engine
        self._expected = expected
        self._recognition: Recognition | None = None
        self._worker = threading.Lock()  # held by the worker that uses the recognition
        self._waiting: deque[memoryview] = deque()
        self._added_bytes = 0  # written by the loop only
        self._taken_bytes = 0  # written by workers only
        self._hurried = False
        self._concluded = False
        self.preview_due = False
        """Whether `preview` should be called, since the latest `advance`."""

    @property
    def language(self) -> str:
        """The ISO 639-1 code of the language of the texts, as far as it is known by now."""
        assert self._recognition is not None  # no text comes before it
        return self._recognition.language

    @property
    def heard_s(self) -> float:
        """The duration of all the audio that was added."""
        return self._added_bytes / FRAME_BYTES / RATE_HZ

    @property
    def waiting_bytes(self) -> int:
        return self._added_bytes - self._taken_bytes

    def add(self, pcm: bytes) -> None:
        """Add audio of the utterance: int16 little-endian mono 16 kHz."""
        self._waiting.append(memoryview(pcm))
        self._added_bytes += len(pcm)

    def hurry(self) -> None:
        """Abort interim work in progress, and begin no more."""
        self._hurried = True
        if self._recognition is not None:
            self._recognition.hurry()

    def advance(self) -> str | None:
        """Recognise a slice of the waiting audio; return the whole text so far if it should be shown again, else None.

        May need a second: call it on a worker.
        """
        with self._worker:
            if self._concluded:
                return None
            recognition = self._begun()
            text = recognition.feed(self._take(SLICE_BYTES))
            self.preview_due = recognition.preview_due
            return text

    def preview(self) -> str | None:
        """Recognise what is being said at this moment; return the same as `advance`. Call it on a worker."""
        with self._worker:
            return None if self._concluded else self._begun().preview()

    def conclude(self) -> str:
        """Recognise the waiting audio, end, and return the whole text. Call it on a worker, once, after `hurry`."""
        with self._worker:
            self._concluded = True
            recognition = self._begun()
            recognition.feed(self._take(self.waiting_bytes))
            return recognition.finish()

    def _begun(self) -> Recognition:
        if self._recognition is None:
            self._recognition = self._engine.recognition(self._expected)
            if self._hurried:  # `hurry` was called before the recognition existed
                self._recognition.hurry()
        return self._recognition

    def _take(self, limit: int) -> bytes:
        pieces = list[memoryview]()
        while limit and self._waiting:
            piece = self._waiting.popleft()
            if len(piece) > limit:
                self._waiting.appendleft(piece[limit:])
                piece = piece[:limit]
            pieces.append(piece)
            limit -= len(piece)
        pcm = b"".join(pieces)
        self._taken_bytes += len(pcm)
        return pcm
