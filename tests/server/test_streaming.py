"""Streaming recognition, with a decoder that records the audio that it is given."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.endpointer import MAX, Endpointer
from flowpi.server.silero import WINDOW
from flowpi.server.streaming import StreamingRecognition
from tests.server.test_endpointer import SILENCE, SPEECH, rate, stretch

SECOND = RATE_HZ / WINDOW
"""Windows."""


def speech(seconds: float) -> bytes:
    return stretch(SPEECH, round(seconds * SECOND))


def silence(seconds: float) -> bytes:
    return stretch(SILENCE, round(seconds * SECOND))


@dataclass
class Scripted:
    """Its text says how much speech and how much audio it was given, in tenths of a second: `12/20`.

    Levers: each decode takes `takes_s` of the clock; `end` is what it writes behind the text.
    """

    language: ClassVar[str] = "en"
    takes_s: float = 0.0
    end: str = ""
    now_s: float = 0.0
    decodes: list[str] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)
    end_only: bool | None = None
    halted: bool = False

    def clock(self) -> float:
        return self.now_s

    def decode(self, pcm: bytes, draft: str = "") -> str:
        self.now_s += self.takes_s
        self.drafts.append(draft)
        text = f"{pcm.count(SPEECH) / FRAME_BYTES / RATE_HZ:.1f}/{len(pcm) / FRAME_BYTES / RATE_HZ:.1f}"
        self.decodes.append(text)
        return text + self.end

    def decode_cut(self, pcm: bytes, *, end_only: bool) -> str:
        self.end_only = end_only
        self.cut.append(self.decode(pcm))
        return self.cut[-1]

    def attempt(self, pcm: bytes, draft: str = "") -> str | None:
        return None if self.halted else self.decode(pcm, draft)

    def preview(self, pcm: bytes, draft: str = "") -> str | None:
        text = self.attempt(pcm, draft)
        self.previews += [text] if text else []
        return text

    def halt(self) -> None:
        self.halted = True


class Talk:
    """A recognition that hears a second at a time, in real time; `rated` counts calls."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.decoder = Scripted(takes_s)
        self.rated = 0
        self.recognition = StreamingRecognition(self.decoder, Endpointer(self._rate), self.decoder.clock)

    def _rate(self, pcm: bytes) -> list[float]:
        self.rated += 1
        return rate(pcm)

    def say(self, sound: bytes, piece_s: float = 1.0, *, previews: bool = True) -> list[str]:
        """Feed the audio, preview when that is due, and return the interim texts."""
        texts = []
        size = int(piece_s * RATE_HZ) * FRAME_BYTES
        for at in range(0, len(sound), size):
            piece = sound[at : at + size]
            self.decoder.now_s += len(piece) / FRAME_BYTES / RATE_HZ
            if (text := self.recognition.feed(piece)) is not None:
                texts.append(text)
            if previews and self.recognition.preview_due and (text := self.recognition.preview()) is not None:
                texts.append(text)
        return texts

    def finish(self, tail: bytes = b"") -> str:
        """Feed the rest and finish, as the server does at a commit."""
        self.recognition.hurry()
        self.recognition.feed(tail)
        self.decoder.decodes.clear()
        self.decoder.drafts.clear()
        self.rated = 0
        return self.recognition.finish()


def test_interim_texts_replace_each_other() -> None:
    assert Talk().say(speech(3)) == ["1.0/1.0", "2.0/2.0", "3.0/3.0"]


def test_segments_are_joined_by_one_space() -> None:
    talk = Talk()
    texts = talk.say(speech(1) + silence(1) + speech(1) + silence(1))
    assert texts[-1] == "1.0/1.3 1.0/1.6"
    assert talk.finish() == "1.0/1.3 1.0/1.6"


def test_silence_is_no_text() -> None:
    talk = Talk()
    assert talk.say(silence(5)) == []
    assert talk.finish(silence(0.5)) == ""
    assert talk.decoder.decodes == []


def test_nothing_at_all_is_no_text() -> None:
    assert Talk().finish() == ""


def test_interim_decodes_take_half_of_the_time_at_most() -> None:
    talk = Talk(takes_s=2.0)
    talk.say(speech(20))
    busy_s = talk.decoder.takes_s * len(talk.decoder.decodes)
    assert 0.3 < busy_s / talk.decoder.now_s < 0.6


def test_audio_that_comes_faster_than_speech_gets_no_interim_texts() -> None:
    talk = Talk()
    assert talk.say(speech(12), piece_s=4.0) == []
    assert talk.decoder.decodes == []


def test_end_in_the_middle_of_a_word_costs_one_decode_and_one_rating() -> None:
    talk = Talk()
    talk.say(speech(2))
    assert talk.finish(speech(0.9)) == "2.9/2.9"
    assert talk.decoder.decodes == ["2.9/2.9"]
    assert talk.rated == 1


def test_end_after_a_dip_costs_no_decode() -> None:
    talk = Talk()
    talk.say(speech(2.7) + silence(0.3))
    assert talk.finish(silence(0.2)) == "2.7/2.9"
    assert talk.decoder.decodes == []


def test_end_in_the_moment_of_a_cut_for_length() -> None:
    whole = -(-MAX // WINDOW)
    talk = Talk()
    talk.say(stretch(SPEECH, whole - 1) + stretch(b"\x3c", 1))  # the cut is where the voice is faintest
    assert talk.finish(SPEECH * 200) == "15.0/15.0"
    assert talk.decoder.decodes == []


def test_words_after_a_dip_are_not_lost() -> None:
    talk = Talk()
    talk.say(speech(2.7) + silence(0.3))
    assert talk.finish(speech(0.5)) == "3.2/3.5"


def test_word_that_begins_after_the_last_scan_is_not_lost() -> None:
    talk = Talk()
    talk.say(silence(2))
    assert talk.finish(silence(0.3) + speech(0.4)) == "0.4/0.7"  # with the quiet before it


def test_long_segment_is_decoded_from_its_latest_dip_only() -> None:
    talk = Talk()
    talk.say(speech(5.7) + silence(0.3) + speech(1))
    assert talk.finish(speech(0.5)) == "5.7/5.9 1.5/1.7"
    assert talk.decoder.decodes == ["1.5/1.7"]


def test_segment_that_closes_is_decoded_whole() -> None:
    talk = Talk()
    talk.say(speech(5.7) + silence(0.3) + speech(1) + silence(1))
    assert talk.finish() == "6.7/7.3"


def test_hurry_before_the_audio_is_heard() -> None:
    talk = Talk()
    talk.recognition.hurry()
    assert talk.recognition.feed(speech(3)) is None
    assert (talk.decoder.decodes, talk.rated) == ([], 0)
    assert talk.recognition.finish() == "3.0/3.0"


def test_hurry_halts_an_interim_decode_and_its_audio_stays() -> None:
    talk = Talk()
    talk.say(speech(1))
    talk.decoder.halted = True  # as if it came in the middle of the next
    assert talk.say(speech(1)) == []
    assert talk.finish() == "2.0/2.0"


def test_much_audio_at_once_is_cut_into_segments_at_the_end() -> None:
    talk = Talk()
    assert talk.finish(speech(3) + silence(1) + speech(30)).startswith("3.0/3.3 ")
    assert max(float(text.partition("/")[2]) for text in talk.decoder.decodes) < 16.3


def test_segments_that_close_need_no_preview() -> None:
    talk = Talk()
    assert talk.say(speech(1) + silence(1) + speech(1), previews=False) == ["1.0/1.3"]
    assert talk.decoder.decodes == ["1.0/1.3"], "and what is being said is not decoded for nothing"
    assert talk.finish() == "1.0/1.3 1.0/1.3"


def test_preview_that_comes_late_has_what_was_said_meanwhile() -> None:
    talk = Talk()
    talk.say(speech(2), previews=False)
    assert talk.recognition.preview_due
    talk.say(speech(1), previews=False)
    assert talk.recognition.preview() == "3.0/3.0"
    assert not talk.recognition.preview_due


def test_preview_that_comes_too_late_is_none() -> None:
    talk = Talk()
    talk.say(speech(1), previews=False)
    assert talk.recognition.preview_due
    assert talk.say(silence(1), previews=False) == ["1.0/1.3"]
    assert talk.recognition.preview() is None
    assert talk.decoder.decodes == ["1.0/1.3"]


@pytest.mark.parametrize("end", [".", ",", "!", "?", ";", ":", "…", "..."])
def test_a_text_that_still_grows_has_no_punctuation_at_its_end(end: str) -> None:
    talk = Talk()
    talk.decoder.end = end
    assert talk.say(speech(2)) == ["1.0/1.0", "2.0/2.0"]
    assert talk.say(silence(0.3))[-1] == f"2.0/2.2{end}"  # a rest: this is what will be final
    assert talk.finish(silence(1)) == f"2.0/2.2{end}"


@pytest.mark.parametrize("sound", [speech(0.5), speech(0.5) + silence(1), silence(0.15) + speech(0.5)])
def test_a_clip_that_is_cut_is_judged_with_quiet_around_it(sound: bytes) -> None:
    talk = Talk()
    assert talk.finish(sound) == "0.5/1.1"
    assert talk.decoder.cut == ["0.5/1.1"]
    assert talk.decoder.end_only is False


@pytest.mark.parametrize("quiet_s", [0.25, 0.3, 1])
def test_a_clip_that_is_cut_only_at_its_end_gets_quiet_before_it_alone(quiet_s: float) -> None:
    talk = Talk()
    assert talk.finish(silence(quiet_s) + speech(0.5)) == "0.5/0.8"
    assert talk.decoder.cut == ["0.5/0.8"]
    assert talk.decoder.end_only is True


@pytest.mark.parametrize(
    "sound",
    [
        silence(0.3) + speech(0.5) + silence(0.3),  # a word alone
        silence(0.1) + speech(0.5) + silence(0.1),
        speech(2),
        speech(4.5) + silence(0.3) + speech(0.5),  # the last word of a long sentence
    ],
)
def test_nothing_else_is_judged(sound: bytes) -> None:
    talk = Talk()
    talk.say(sound, piece_s=0.5)
    talk.finish()
    assert talk.decoder.cut == []


class TestDrafts:
    """What was heard in the same audio before, so that it is heard again quickly."""

    def test_of_the_next_interim_text_and_of_the_final(self) -> None:
        talk = Talk()
        talk.say(speech(2))
        assert talk.decoder.drafts == ["", "1.0/1.0"]
        talk.finish(speech(0.5))
        assert talk.decoder.drafts == ["2.0/2.0"]

    def test_of_the_text_up_to_a_dip(self) -> None:
        talk = Talk()
        talk.say(speech(2) + speech(0.7) + silence(0.3))
        assert talk.decoder.drafts[-1] == "2.0/2.0"

    def test_behind_a_dip_is_what_was_heard_behind_it(self) -> None:
        talk = Talk()
        talk.say(speech(5.7) + silence(0.3) + speech(1))
        assert talk.decoder.drafts[-1] == "", "the interim text was as long as that up to the dip"
        talk.say(speech(1))
        assert talk.decoder.drafts[-1] == "1.0/1.2"
        talk.finish(speech(0.5))
        assert talk.decoder.drafts == ["2.0/2.1"]

    def test_of_a_segment_that_closes(self) -> None:
        talk = Talk()
        talk.say(speech(5.7) + silence(0.3) + speech(1))
        talk.say(silence(1), previews=False)
        assert talk.decoder.drafts[-1] == "5.7/5.9 1.0/1.2"

    def test_of_another_segment_is_none(self) -> None:
        talk = Talk()
        talk.say(speech(2) + silence(1) + speech(1))
        assert talk.decoder.drafts[-1] == ""
