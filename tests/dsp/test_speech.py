"""Speech that is too quiet, and what is no speech."""

import audioop
import random

import pytest

from flowpi.dsp.format import BYTES_PER_S
from flowpi.dsp.speech import QUIET_DBFS, SpeechLevel
from tests.audio.variants import reference
from tests.speech import librivox, two_cities


def level_of(pcm: bytes, step: int = 1000) -> SpeechLevel:
    level = SpeechLevel()
    for at in range(0, len(pcm), step):
        level.feed(pcm[at : at + step])
    return level


def steady(dbfs: float, seconds: float = 3) -> bytes:
    dice, amplitude = random.Random(1), 32_768 * 10 ** (dbfs / 20)
    return b"".join(
        round(dice.gauss(0, amplitude)).to_bytes(2, "little", signed=True) for _ in range(int(seconds * 16_000))
    )


@pytest.mark.parametrize(
    ("gain_db", "quiet"), [(6, False), (0, False), (-20, False), (-28, False), (-38, True), (-50, True)]
)
def test_speech_is_too_quiet_where_the_recogniser_loses_words(gain_db: float, quiet: bool) -> None:
    for recording in librivox():
        level = level_of(audioop.mul(recording.pcm, 2, 10 ** (gain_db / 20)))
        assert level.is_too_quiet is quiet, recording.name
        assert (level.speech_dbfs < QUIET_DBFS) is quiet


def test_a_soft_reader_is_not_too_quiet() -> None:
    assert level_of(two_cities().pcm).is_too_quiet is False


@pytest.mark.parametrize("dbfs", [-90, -70, -60, -20])
def test_where_nobody_speaks_nothing_is_too_quiet(dbfs: float) -> None:
    assert level_of(steady(dbfs)).is_too_quiet is None


def test_digital_silence_and_a_click_are_no_speech() -> None:
    assert level_of(bytes(3 * BYTES_PER_S)).is_too_quiet is None
    assert level_of(steady(-75) + reference()[:3200] + steady(-75)).is_too_quiet is None


def test_where_a_tone_was_silenced_the_noise_is_no_speech() -> None:
    assert level_of(bytes(BYTES_PER_S) + steady(-65)).is_too_quiet is None


def test_less_than_a_second_says_nothing() -> None:
    assert SpeechLevel().is_too_quiet is None
    assert level_of(reference()[: BYTES_PER_S // 2]).is_too_quiet is None


@pytest.mark.parametrize("step", [2, 3200, 10**6])
def test_it_does_not_matter_how_the_sound_is_cut(step: int) -> None:
    assert level_of(reference(), step).speech_dbfs == level_of(reference()).speech_dbfs


def test_what_is_measured_is_passed_on() -> None:
    level, blocks = SpeechLevel(), [reference()[:6400], reference()[6400:]]
    assert list(level.measured(blocks)) == blocks
    assert level.speech_dbfs == level_of(reference()).speech_dbfs
