import array
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.dsp.level import SILENCE_DBFS, Level, measure, rms


def pcm(*samples: int) -> bytes:
    return array.array("h", samples).tobytes()


SINE = pcm(*(round(32_767 * math.sin(2 * math.pi * n / 100)) for n in range(1600)))


def test_a_full_sine_is_three_db_below_full_scale() -> None:
    level = measure(SINE)
    assert level.dbfs == pytest.approx(-3.0, abs=0.1)
    assert level.peak_dbfs == 0.0
    assert rms(SINE) == pytest.approx(1 / math.sqrt(2), abs=0.001)


@pytest.mark.parametrize("silence", [b"", bytes(2), bytes(3200)])
def test_silence_is_the_floor_and_not_minus_infinity(silence: bytes) -> None:
    assert measure(silence) == Level(SILENCE_DBFS, SILENCE_DBFS, False)


@pytest.mark.parametrize(
    ("sample", "clipped"), [(32_767, True), (-32_768, True), (32_766, False), (-32_767, True), (-32_766, False)]
)
def test_clipped_is_a_sample_at_either_rail(sample: int, clipped: bool) -> None:
    assert measure(pcm(0, sample, 0)).clipped is clipped


@given(st.lists(st.integers(-32_768, 32_767), max_size=50))
def test_it_is_json_and_in_range_whatever_is_heard(samples: list[int]) -> None:
    level = json.loads(msgspec.json.encode(measure(pcm(*samples))))
    assert SILENCE_DBFS <= level["dbfs"] <= level["peak_dbfs"] <= 0.0
