import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.dsp.silence import BLOCK, Silence, is_constant


def pcm(*samples: int) -> bytes:
    return array.array("h", samples).tobytes()


@given(st.integers(-32_768, 32_767), st.lists(st.integers(0, 50), max_size=20))
def test_constant_sound_adds_up_however_it_is_cut(sample: int, lengths: list[int]) -> None:
    silence = Silence()
    for length in lengths:
        silence.feed(pcm(*[sample] * length))
    assert silence.frames == sum(lengths)


@pytest.mark.parametrize("other", [pcm(0, 1), pcm(1, 0), pcm(-1, 0, 0), pcm(5, 6, 5)])
def test_any_other_sample_begins_afresh(other: bytes) -> None:
    silence = Silence()
    silence.feed(pcm(0, 0))
    silence.feed(other)
    assert silence.frames == 0
    silence.feed(pcm(0, 0, 0))
    assert silence.frames == 3


def test_a_step_to_another_constant_begins_afresh() -> None:
    silence = Silence()
    silence.feed(pcm(0, 0))
    silence.feed(pcm(7))
    assert silence.frames == 1


@pytest.mark.parametrize("sample", [0, -32_768, 32_767])
def test_a_whole_recording(sample: int) -> None:
    constant = pcm(sample) * (BLOCK + 7)
    assert is_constant(memoryview(constant))
    for at in (0, 1, BLOCK // 2, BLOCK // 2 + 1, BLOCK + 6):
        changed = array.array("h", constant)
        changed[at] ^= 1
        assert not is_constant(memoryview(changed.tobytes())), at
