"""The cue mask, frame by frame: what it silences, and what it does not."""

import math

from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.cue_mask import FORGET_S, CueMask
from flowpi.dsp.format import RATE_HZ

NOISE = b"\x01\x02"

moments = st.floats(0.0, 3.0)


@given(moments, st.one_of(moments, st.just(math.inf)), moments, st.integers(0, 2 * RATE_HZ), st.floats(0.0, 0.1))
def test_exactly_what_may_have_been_heard_while_it_sounded_is_silent(
    since: float, until: float, heard_by: float, frames: int, slack_s: float
) -> None:
    mask = CueMask()
    sound = mask.begin(since)
    sound.until = until
    masked = mask.apply(NOISE * frames, heard_by, slack_s)
    assert len(masked) == 2 * frames
    for at in range(0, frames, max(1, frames // 97)):
        latest = heard_by - (frames - 1 - at) / RATE_HZ
        earliest = latest - slack_s
        silent = masked[2 * at : 2 * at + 2] == bytes(2)
        assert silent or masked[2 * at : 2 * at + 2] == NOISE
        if latest > since and earliest < until and since <= until:
            assert silent, (at, earliest, latest)
        margin = 2 / RATE_HZ  # a sound may begin between two frames
        if latest < since - margin or earliest > until + margin:
            assert not silent, (at, earliest, latest)


def test_without_a_sound_the_audio_is_not_even_copied() -> None:
    pcm = NOISE * 100
    assert CueMask().apply(pcm, 1.0, 0.02) is pcm


def test_several_sounds_and_the_old_ones_are_forgotten() -> None:
    mask = CueMask()
    for at in (0.0, 0.5):
        mask.begin(at).until = at + 0.1
    masked = mask.apply(NOISE * RATE_HZ, 1.0, 0.0)
    assert 0.19 < masked.count(0) / 2 / RATE_HZ < 0.21
    for at in range(1, 100):
        mask.begin(at * FORGET_S).until = at * FORGET_S + 0.1
    assert len(mask._sounds) <= 2
