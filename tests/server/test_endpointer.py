"""The endpointer: exact to the sample with a scripted rating, and with Silero on real speech."""

import numpy as np

from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.endpointer import CUT_FROM, DIP, HANG, MAX, PAD, Endpointer
from flowpi.server.silero import WINDOW, VoiceModel
from tests.speech import two_cities

SPEECH, SILENCE = b"\x01", b"\x00"


def stretch(kind: bytes, windows: int) -> bytes:
    """Return audio that `rate` rates as speech or silence."""
    return kind * (windows * WINDOW * FRAME_BYTES)


def rate(pcm: bytes) -> list[float]:
    """Each window by its first byte: 0.9 for `SPEECH`, 0 for `SILENCE`; other bytes are their percentage."""
    assert pcm
    assert len(pcm) % (WINDOW * FRAME_BYTES) == 0
    return [{1: 0.9}.get(first, first / 100) for first in pcm[:: WINDOW * FRAME_BYTES]]


def segments(endpointer: Endpointer) -> list[tuple[int, int]]:
    found = []
    while (segment := endpointer.scan()) is not None:
        found.append(segment)
    return found


def heard(*stretches: bytes) -> Endpointer:
    endpointer = Endpointer(rate)
    endpointer.append(b"".join(stretches))
    return endpointer


HANG_WINDOWS = -(-HANG // WINDOW)


def test_segment_has_audio_from_around_it() -> None:
    endpointer = heard(stretch(SILENCE, 20), stretch(SPEECH, 10), stretch(SILENCE, 30))
    assert segments(endpointer) == [(20 * WINDOW - PAD, 30 * WINDOW + PAD)]
    assert not endpointer.speaking


def test_pcm_of_a_segment() -> None:
    endpointer = heard(stretch(SILENCE, 20), stretch(SPEECH, 10), stretch(SILENCE, 30))
    segment = endpointer.scan()
    assert segment is not None
    pad = SILENCE * (PAD * FRAME_BYTES)
    assert endpointer.pcm(*segment) == pad + stretch(SPEECH, 10) + pad


def test_speech_from_the_first_sample() -> None:
    assert segments(heard(stretch(SPEECH, 10), stretch(SILENCE, 30))) == [(0, 10 * WINDOW + PAD)]


def test_shorter_than_a_word_is_none() -> None:
    assert segments(heard(stretch(SILENCE, 9), stretch(SPEECH, 3), stretch(SILENCE, 30))) == []
    assert segments(heard(stretch(SILENCE, 9), stretch(SPEECH, 4), stretch(SILENCE, 30))) != []


def test_voice_that_fades_holds_a_segment_but_opens_none() -> None:
    fading = bytes([40])
    assert segments(heard(stretch(fading, 50), stretch(SILENCE, 30))) == []
    assert segments(heard(stretch(SPEECH, 10), stretch(fading, 10), stretch(SILENCE, 30))) == [(0, 20 * WINDOW + PAD)]


def test_pause_shorter_than_the_hang_joins() -> None:
    pause = stretch(SILENCE, HANG_WINDOWS - 1)
    assert len(segments(heard(stretch(SPEECH, 9), pause, stretch(SPEECH, 9), stretch(SILENCE, 30)))) == 1
    pause = stretch(SILENCE, HANG_WINDOWS)
    assert len(segments(heard(stretch(SPEECH, 9), pause, stretch(SPEECH, 9), stretch(SILENCE, 30)))) == 2


def test_speech_without_a_pause_is_cut_where_the_voice_is_faintest() -> None:
    before = CUT_FROM // WINDOW + 20
    endpointer = heard(stretch(SPEECH, before), stretch(bytes([60]), 1), stretch(SPEECH, 2 * MAX // WINDOW - before))
    cut = (before + 1) * WINDOW
    first, second = segments(endpointer)
    assert first == (0, cut)
    assert second[0] == cut
    assert second[1] - second[0] <= MAX + WINDOW
    assert endpointer.start == second[1]


def test_dip_is_noticed_while_the_segment_is_open() -> None:
    endpointer = heard(stretch(SPEECH, 10), stretch(SILENCE, DIP // WINDOW))
    segments(endpointer)
    assert endpointer.dip is None
    endpointer.append(stretch(SILENCE, 1))
    segments(endpointer)
    assert endpointer.dip == (11 + DIP // WINDOW) * WINDOW
    assert endpointer.voiced_after_dip == 0
    endpointer.append(stretch(SPEECH, 3))
    segments(endpointer)
    assert endpointer.voiced_after_dip == 3 * WINDOW
    assert endpointer.speaking


def test_what_is_appended_is_rated_once_and_in_one_call() -> None:
    calls: list[int] = []

    def counted(pcm: bytes) -> list[float]:
        calls.append(len(pcm) // FRAME_BYTES // WINDOW)
        return rate(pcm)

    endpointer = Endpointer(counted)
    for _ in range(3):
        endpointer.append(stretch(SPEECH, 10) + stretch(SILENCE, 30) + bytes(2 * FRAME_BYTES))
        assert len(segments(endpointer)) == 1
    endpointer.append(bytes(100))  # less than a window
    segments(endpointer)
    assert calls == [40, 40, 40]


def test_audio_in_pieces_of_any_size() -> None:
    sound = stretch(SILENCE, 20) + stretch(SPEECH, 10) + stretch(SILENCE, 30)
    endpointer = Endpointer(rate)
    found = []
    for at in range(0, len(sound), 334):
        endpointer.append(sound[at : at + 334])
        found += segments(endpointer)
    assert found == segments(heard(sound))


def test_silence_is_not_kept() -> None:
    endpointer = Endpointer(rate)
    for _ in range(100):
        endpointer.append(stretch(SILENCE, 100))
        segments(endpointer)
    assert endpointer.end - endpointer.oldest <= 100 * WINDOW + PAD


def test_real_speech_is_found_and_noise_is_not() -> None:
    noise = np.random.default_rng(1).normal(0, 300, 5 * RATE_HZ).astype("<i2").tobytes()
    endpointer = Endpointer(VoiceModel().stream())
    endpointer.append(noise + two_cities().part(0, 20) + noise)
    found = [(round(start / RATE_HZ, 1), round(end / RATE_HZ, 1)) for start, end in segments(endpointer)]
    assert found
    assert all(5.5 < start < end < 25.9 for start, end in found)
    assert sum(end - start for start, end in found) > 15
