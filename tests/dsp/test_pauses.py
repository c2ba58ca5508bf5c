import random

import pytest

from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES, RATE_HZ
from flowpi.dsp.pauses import Pauses, spoken


def hear(pauses: Pauses, pcm: bytes, read_s: float = 0.1) -> int:
    """Return how many of the reads end in a pause."""
    step = round(read_s * RATE_HZ) * FRAME_BYTES
    return sum(pauses.feed(pcm[at : at + step]) for at in range(0, len(pcm), step))


def noise(seconds: float, amplitude: int) -> bytes:
    dice = random.Random(1)
    frames = round(seconds * RATE_HZ)
    return b"".join(dice.randint(-amplitude, amplitude).to_bytes(2, "little", signed=True) for _ in range(frames))


@pytest.mark.parametrize("gain", [100, 1000, 10_000])
@pytest.mark.parametrize("read_s", [0.02, 0.1, 0.5])
def test_a_pause_is_far_below_the_recording_itself_however_loud_that_is(gain: int, read_s: float) -> None:
    pauses = Pauses()
    assert not hear(pauses, noise(2, gain), read_s)
    assert not hear(pauses, noise(1, gain // 2), read_s)
    assert hear(pauses, noise(0.5, gain // 20), read_s)
    assert not hear(pauses, noise(0.5, gain), read_s)


def test_the_closure_of_a_consonant_is_no_pause() -> None:
    word, closure = noise(0.26, 8000), noise(0.07, 50)
    assert not hear(Pauses(), (word + closure) * 10)


def test_no_sound_at_all_is_a_pause() -> None:
    assert Pauses().feed(bytes(RATE_HZ))


@pytest.mark.parametrize("gain", [100, 10_000])
def test_where_speech_begins_and_ends(gain: int) -> None:
    pcm = noise(0.5, gain // 20) + noise(1, gain) + noise(0.3, gain // 20) + noise(1, gain // 2) + noise(0.7, 1)
    assert spoken(pcm) == pytest.approx((0.5, 2.8), abs=0.021)


@pytest.mark.parametrize("pcm", [b"", bytes(100), bytes(BYTES_PER_S), noise(0.011, 500)])
def test_all_of_it_is_speech_where_there_is_no_pause(pcm: bytes) -> None:
    assert spoken(pcm) == (0.0, len(pcm) / BYTES_PER_S)
