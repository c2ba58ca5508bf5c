"""Streaming recognition, with a decoder that records the audio that it is given."""

from dataclasses import dataclass, field

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.endpointer import WINDOW, Endpointer
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

    Lever: each decode takes `takes_s` of the clock.
    """

    takes_s: float = 0.0
    now_s: float = 0.0
    decodes: list[str] = field(default_factory=list)
    halted: bool = False

    def clock(self) -> float:
        return self.now_s

    def decode(self, pcm: bytes) -> str:
        self.now_s += self.takes_s
        text = f"{pcm.count(SPEECH) / FRAME_BYTES / RATE_HZ:.1f}/{len(pcm) / FRAME_BYTES / RATE_HZ:.1f}"
        self.decodes.append(text)
        return text

    def attempt(self, pcm: bytes) -> str | None:
        return None if self.halted else self.decode(pcm)

    def halt(self) -> None:
        self.halted = True


class Talk:
    """A recognition that hears a second at a time, in real time; `rated` counts windows."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.decoder = Scripted(takes_s)
        self.rated = 0
        self.recognition = StreamingRecognition(self.decoder, Endpointer(self._rate), self.decoder.clock)

    def _rate(self, window: bytes) -> float:
        self.rated += 1
        return rate(window)

    def say(self, sound: bytes, piece_s: float = 1.0) -> list[str]:
        """Feed the audio and return the interim texts."""
        texts = []
        size = int(piece_s * RATE_HZ) * FRAME_BYTES
        for at in range(0, len(sound), size):
            piece = sound[at : at + size]
            self.decoder.now_s += len(piece) / FRAME_BYTES / RATE_HZ
            if (text := self.recognition.feed(piece)) is not None:
                texts.append(text)
        return texts

    def finish(self, tail: bytes = b"") -> str:
        """Feed the rest and finish, as the server does at a commit."""
        self.recognition.hurry()
        self.recognition.feed(tail)
        self.decoder.decodes.clear()
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


def test_end_in_the_middle_of_a_word_costs_one_decode_and_no_rating() -> None:
    talk = Talk()
    talk.say(speech(2))
    assert talk.finish(speech(0.9)) == "2.9/2.9"
    assert talk.decoder.decodes == ["2.9/2.9"]
    assert talk.rated == 0


def test_end_after_a_dip_costs_no_decode() -> None:
    talk = Talk()
    talk.say(speech(2.7) + silence(0.3))
    assert talk.finish(silence(0.2)) == "2.7/2.9"
    assert talk.decoder.decodes == []


def test_words_after_a_dip_are_not_lost() -> None:
    talk = Talk()
    talk.say(speech(2.7) + silence(0.3))
    assert talk.finish(speech(0.5)) == "3.2/3.5"


def test_word_that_begins_after_the_last_scan_is_not_lost() -> None:
    talk = Talk()
    talk.say(silence(2))
    assert talk.finish(silence(0.3) + speech(0.4)) == "0.4/0.7"


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
