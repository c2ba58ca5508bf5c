"""Streaming recognition: interim texts during speech, from a recogniser that decodes only complete pieces of audio.

Theory of operation. The endpointer cuts the audio into segments at pauses; each is decoded when it closes, and its
text is final. The open segment is decoded repeatedly for the interim texts, less often the longer a decode takes. The
text of the open segment up to its latest dip (0.2 s without voice) is kept: it is the text of the segment if no voice
follows, and in a long segment only the audio after the dip is decoded again.

Decoding an open segment for its interim text is apart, in `preview`, because it is done again if the segment goes on:
whoever is busy with more than one utterance does it last.

The end of a text that still grows is shown without punctuation: more speech would mostly change it.

The final text must come quickly. So `hurry` halts the decode in progress, and `finish` does the minimum: it uses kept
texts.
"""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.clips import LONGEST, WHOLE, is_cut
from flowpi.server.endpointer import DIP, MIN_SPEECH, PAD, Endpointer

SPLIT_FROM = RATE_HZ * 4
"""A segment this long is decoded again only from its latest dip; a shorter one decodes whole in under 0.1 s."""

INTERIM_S = 0.5
LOAD_MAX = 0.5
"""Interim texts come every half second, but on a slow machine they use at most this share of the time."""


Text = TypeVar("Text", str, str | None)

PUNCTUATION = ".,!?;:…"
"""What a recogniser writes at the end of whatever it hears, and changes when the speech goes on."""

BEHIND = RATE_HZ * 5 // 2
"""Samples. More than this in one `feed` is no live speech, so no interim text is made for it."""


class Decoder(Protocol):
    """Turns finished pieces of audio (int16 mono 16 kHz) into text, for one utterance.

    A draft is a text that was heard in much the same audio. It may make a decode quicker, and decides nothing but near
    ties.
    """

    @property
    def language(self) -> str:
        """The ISO 639-1 code of the language of the texts."""

    def decode(self, pcm: bytes, draft: str = "") -> str: ...

    def attempt(self, pcm: bytes, draft: str = "") -> str | None:
        """Return the text like `decode`, but None once `halt` was called."""

    def preview(self, pcm: bytes, draft: str = "") -> str | None:
        """Return a text like `attempt`, perhaps worse and sooner, that is shown and not kept."""

    def halt(self) -> None:
        """Make the `attempt` or `preview` in progress and all later ones return at once. Called from another thread."""


@runtime_checkable
class Doubting(Protocol):
    """A decoder that can say how sure it is of each word."""

    def decode_cut(self, pcm: bytes, *, end_only: bool) -> str:
        """Return the text of a clip that begins or ends within a word, without the words that may be wrong.

        Args:
            pcm: int16 mono 16 kHz.
            end_only: whether it ends, but does not begin, within a word.
        """


class StreamingRecognition:
    """A `Recognition` over a `Decoder`. `feed` decodes the segments that close, `preview` the open one."""

    def __init__(
        self,
        decoder: Decoder,
        endpointer: Endpointer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decoder = decoder
        self._speech = endpointer
        self._clock = clock
        self._hurried = False
        self._live = True  # whether the audio comes as it is spoken
        self._texts: list[str] = []  # of the closed segments
        self._dip: int | None = None  # the dip of the open segment up to which its text is known
        self._dip_text = ""
        self._interim = ""  # the latest text of the open segment
        self._interim_end = 0  # where the audio ended when it was made
        self._next_interim_s = 0.0  # by the clock
        self._shown = ""

    @property
    def language(self) -> str:
        return self._decoder.language

    def feed(self, pcm: bytes) -> str | None:
        self._live = len(pcm) <= BEHIND * FRAME_BYTES
        self._speech.append(pcm)
        while not self._hurried and (segment := self._speech.scan()) is not None:
            self._take(segment)
        return self._newer_text()

    @property
    def preview_due(self) -> bool:
        speech = self._speech
        if self._hurried or not self._live or not speech.speaking:
            return False
        if self._resting:
            return not self._dip_is_current
        return self._clock() >= self._next_interim_s and speech.end - self._interim_end >= INTERIM_S * RATE_HZ

    def preview(self) -> str | None:
        if self.preview_due:
            self._decode_open_segment()
        return self._newer_text()

    def finish(self) -> str:
        self._hurried = True
        while (segment := self._speech.scan()) is not None:
            self._take(segment)
        speech = self._speech
        if not speech.speaking:
            return _joined(*self._texts)
        if self._dip_is_current and self._resting:
            return _joined(*self._texts, self._dip_text)
        if speech.end - speech.start < LONGEST:
            clip = self._decoded(self._decoder.decode, speech.start, speech.end, speech.end - speech.voice_end)
            return _joined(*self._texts, clip)
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

    def _newer_text(self) -> str | None:
        """Return the whole text so far, or None if it was returned before."""
        text = _joined(*self._texts, self._interim)
        if text == self._shown:
            return None
        self._shown = text
        return text

    def _take(self, segment: tuple[int, int]) -> None:
        """Add the final text of a segment that closed."""
        # A pause that closes a segment is also its latest dip: the text kept for that dip is that of the segment.
        self._texts.append(self._dip_text if self._dip_is_current else self._decoded(self._decoder.decode, *segment))
        self._dip, self._dip_text, self._interim = None, "", ""

    def _decode_open_segment(self) -> None:
        speech, now_s = self._speech, self._clock()
        long = speech.end - speech.start >= SPLIT_FROM
        if speech.dip is not None and not self._dip_is_current and (self._resting or long):
            # In a long segment this text makes `finish` quick, so its decode is not halted even if the end is near.
            decode = self._decoder.decode if long else self._decoder.attempt
            text = self._decoded(decode, speech.start, speech.dip)
            if text is None:
                return
            self._dip, self._dip_text = speech.dip, text
        interim = self._dip_text if self._resting else self._open_text(self._decoder.preview)
        if interim is None:
            return
        if not self._resting:
            interim = interim.rstrip(PUNCTUATION)
        self._interim, self._interim_end = interim, speech.end
        self._next_interim_s = now_s + max(INTERIM_S, (self._clock() - now_s) / LOAD_MAX)

    def _decoded(self, decode: Callable[[bytes, str], Text], start: int, end: int, after: int = PAD) -> Text:
        """Return the final text of a piece of the open segment from its start, perhaps a clip.

        Args:
            after: the samples after its voice.
        """
        if end - start < MIN_SPEECH:  # what a cut for length has left
            return ""
        pcm, draft = self._speech.pcm(start, end), self._interim
        before = PAD if start else self._speech.voice_start
        if end - start >= LONGEST or min(before, after) >= PAD:
            return decode(pcm, draft)
        quiet_before, quiet_after = (bytes(max(0, PAD - there) * FRAME_BYTES) for there in (before, after))
        if is_cut(pcm, before, after) and isinstance(self._decoder, Doubting):
            end_only = before >= WHOLE
            behind = b"" if end_only else quiet_after
            return self._decoder.decode_cut(quiet_before + pcm + behind, end_only=end_only)
        return decode(quiet_before + pcm + quiet_after, draft)

    def _open_text(self, decode: Callable[[bytes, str], Text]) -> Text:
        """Return the text of the open segment with the least decoding; None if `decode` returns None."""
        speech = self._speech
        if self._dip is None or speech.end - speech.start < SPLIT_FROM:
            return decode(speech.pcm(speech.start, speech.end), self._interim)
        behind = self._interim.split()[len(self._dip_text.split()) :]
        rest = decode(speech.pcm(self._dip - DIP // 2, speech.end), " ".join(behind))
        return rest if rest is None else _joined(self._dip_text, rest)


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)
