"""Streaming recognition: interim texts during speech, from a recogniser that decodes only complete pieces of audio.

Theory of operation. The endpointer cuts the audio into segments at pauses; each is decoded when it closes, and its
text is final. The open segment is decoded repeatedly for the interim texts, less often the longer a decode takes. The
text of the open segment up to its latest dip (0.2 s without voice) is kept: it is the text of the segment if no voice
follows, and in a long segment only the audio after the dip is decoded again.

The final text must come quickly. So `hurry` halts the decode in progress, and `finish` does the minimum: it uses kept
texts, and decodes the last second of an open segment without rating it, because rating would cost as much.
"""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.endpointer import DIP, MIN_SPEECH, Endpointer

SPLIT_FROM = RATE_HZ * 4
"""A segment this long is decoded again only from its latest dip; a shorter one decodes whole in under 0.1 s."""

UNRATED_MAX = RATE_HZ * 5 // 4
"""The most that `finish` decodes unrated: one append of a second, and the rest of a window."""

INTERIM_S = 0.5
LOAD_MAX = 0.5
"""Interim texts come every half second, but on a slow machine they use at most this share of the time."""


Text = TypeVar("Text", str, str | None)

BEHIND = RATE_HZ * 5 // 2
"""Samples. More than this in one `feed` is no live speech, so no interim text is made for it."""


class Decoder(Protocol):
    """Turns finished pieces of audio (int16 mono 16 kHz) into text, for one utterance."""

    def decode(self, pcm: bytes) -> str: ...

    def attempt(self, pcm: bytes) -> str | None:
        """Return the text like `decode`, but None once `halt` was called."""

    def halt(self) -> None:
        """Make the `attempt` in progress and all later ones return at once. Called from another thread."""


class StreamingRecognition:
    """A `Recognition` over a `Decoder`."""

    def __init__(
        self,
        decoder: Decoder,
        endpointer: Endpointer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoder = decoder
        self._speech = endpointer or Endpointer()
        self._clock = clock
        self._hurried = False
        self._texts: list[str] = []  # of the closed segments
        self._dip: int | None = None  # the dip of the open segment up to which its text is known
        self._dip_text = ""
        self._interim = ""  # the latest text of the open segment
        self._interim_end = 0  # where the audio ended when it was made
        self._next_interim_s = 0.0  # by the clock
        self._shown = ""

    def feed(self, pcm: bytes) -> str | None:
        self._speech.append(pcm)
        while (segment := self._speech.scan(lambda: self._hurried)) is not None:
            self._take(segment)
        if self._speech.speaking and len(pcm) <= BEHIND * FRAME_BYTES:
            self._decode_open_segment()
        text = _joined(*self._texts, self._interim)
        if text == self._shown:
            return None
        self._shown = text
        return text

    def finish(self) -> str:
        self._hurried = True
        while (segment := self._speech.scan(self._may_stay_unrated)) is not None:
            self._take(segment)
        if not self._speech.speaking:
            return _joined(*self._texts)
        if self._dip_is_current and self._resting:
            return _joined(*self._texts, self._dip_text)
        return _joined(*self._texts, self._open_text(self._decoder.decode))

    def hurry(self) -> None:
        self._hurried = True
        self._decoder.halt()

    @property
    def _resting(self) -> bool:
        """Whether no voice, clicks aside, followed the latest dip."""
        return self._speech.dip is not None and self._speech.voiced_after_dip < MIN_SPEECH

    @property
    def _dip_is_current(self) -> bool:
        return self._dip is not None and self._dip == self._speech.dip

    def _may_stay_unrated(self) -> bool:
        """Whether the final text no longer depends on rating the rest, as it does while a kept text may be used."""
        if not self._speech.speaking or self._speech.unrated > UNRATED_MAX:
            return False
        return not (self._dip_is_current and self._resting)

    def _take(self, segment: tuple[int, int]) -> None:
        """Add the final text of a segment that closed."""
        # A pause that closes a segment is also its latest dip: the text kept for that dip is that of the segment.
        self._texts.append(self._dip_text if self._dip_is_current else self._decoder.decode(self._speech.pcm(*segment)))
        self._dip, self._dip_text, self._interim = None, "", ""

    def _decode_open_segment(self) -> None:
        speech, now_s = self._speech, self._clock()
        worth_it = self._resting and not self._dip_is_current
        due = now_s >= self._next_interim_s and speech.end - self._interim_end >= INTERIM_S * RATE_HZ
        if not worth_it and (self._resting or not due):
            return
        long = speech.end - speech.start >= SPLIT_FROM
        if speech.dip is not None and not self._dip_is_current and (self._resting or long):
            # In a long segment this text makes `finish` quick, so its decode is not halted even if the end is near.
            decode = self._decoder.decode if long else self._decoder.attempt
            text = decode(speech.pcm(speech.start, speech.dip))
            if text is None:
                return
            self._dip, self._dip_text = speech.dip, text
        interim = self._dip_text if self._resting else self._open_text(self._decoder.attempt)
        if interim is None:
            return
        self._interim, self._interim_end = interim, speech.end
        self._next_interim_s = now_s + max(INTERIM_S, (self._clock() - now_s) / LOAD_MAX)

    def _open_text(self, decode: Callable[[bytes], Text]) -> Text:
        """Return the text of the open segment with the least decoding; None if `decode` returns None."""
        speech = self._speech
        if self._dip is None or speech.end - speech.start < SPLIT_FROM:
            return decode(speech.pcm(speech.start, speech.end))
        rest = decode(speech.pcm(self._dip - DIP // 2, speech.end))
        return rest if rest is None else _joined(self._dip_text, rest)


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)
