"""Wide PCM: what is in the low bits survives, an offset does not, and a split changes nothing."""

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.dsp.wide import SETTLING_S, OffsetFilter, WideConverter

RATE_HZ = 16_000
STEP = 1 << 16
"""A step of 16 bits, in 32."""

OFFSET = 5_000 * STEP // 100
"""50 steps of 16 bits: more than speech at -60 dBFS has."""


def numbers(pcm: bytes) -> list[int]:
    return array.array("h", pcm).tolist()


def tone(
    rate_hz: int, amplitude: float, seconds: float = 1.0, hz: float = 440
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def s32(samples: object) -> bytes:
    return np.rint(samples).astype("<i4").tobytes()  # type: ignore[call-overload,no-any-return]


def in_stereo(left: bytes, right: bytes | None = None) -> bytes:
    channels = np.frombuffer(left, "<i4"), np.frombuffer(right or bytes(len(left)), "<i4")
    return np.stack(channels, axis=1).tobytes()


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_speech_below_a_step_of_16_bits_is_made_audible_and_the_offset_is_not(rate_hz: int) -> None:
    soft = s32(tone(rate_hz, 0.5 * STEP) + OFFSET)
    loud = numbers(WideConverter(rate_hz, 2, "S32_LE", 0, gain_db=60).feed(in_stereo(soft)))[4000:]
    wanted = tone(RATE_HZ, 500.0)[4000:]
    assert abs(np.mean(loud)) < 5  # the tone ends in the middle of a wave
    assert np.sqrt(np.mean(np.square(loud))) == pytest.approx(np.sqrt(np.mean(np.square(wanted))), rel=0.01)


def test_the_offset_is_gone_from_the_first_samples_on() -> None:
    out = numbers(WideConverter(RATE_HZ, 1, "S32_LE", gain_db=30).feed(s32(tone(RATE_HZ, 10 * STEP) + 30 * OFFSET)))
    assert max(map(abs, out)) < 32_767  # of an offset of 1500 steps, 30 dB louder, all would be at the limit
    assert abs(np.mean(out[2000:])) < 12


def test_an_offset_that_drifts_is_followed() -> None:
    drift = np.linspace(0, 40 * OFFSET, 20 * RATE_HZ)
    out = numbers(WideConverter(RATE_HZ, 1, "S32_LE").feed(s32(drift)))
    assert max(map(abs, out[RATE_HZ:])) <= 2000 / 20 * SETTLING_S + 1


def test_speech_keeps_its_low_tones() -> None:
    out = numbers(WideConverter(RATE_HZ, 1, "S32_LE").feed(s32(tone(RATE_HZ, 1000 * STEP, 3.0, hz=80))))
    assert max(out[2 * RATE_HZ :]) == pytest.approx(1000, rel=0.01)


@given(st.lists(st.integers(0, 40_000), max_size=6), st.integers(0, 2**32 - 1))
def test_the_filter_does_the_same_however_the_stream_is_split(cuts: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-(2**31), 2**31, 40_000).astype(np.float64)
    whole, filter_ = OffsetFilter().feed(samples), OffsetFilter()
    pieces = [filter_.feed(piece) for piece in np.split(samples, sorted(cuts))]
    assert np.allclose(np.concatenate(pieces), whole, rtol=0, atol=1e-3)


def test_the_filter_is_a_mean_and_then_an_exponential_one() -> None:
    samples = np.random.default_rng(1).normal(size=50_000)
    settling = round(SETTLING_S * RATE_HZ)
    mean, expected = 0.0, []
    for number, sample in enumerate(samples):
        mean += (sample - mean) / min(number + 1, settling)
        expected.append(sample - mean)
    assert np.allclose(OffsetFilter().feed(samples), expected, atol=1e-9)


@pytest.mark.parametrize("gain_db", [0, 40])
def test_what_is_too_loud_is_limited_and_does_not_wrap(gain_db: float) -> None:
    loud = s32(np.where(np.arange(RATE_HZ) % 200 < 100, 2**31 - 1, -(2**31)))
    out = numbers(WideConverter(RATE_HZ, 1, "S32_LE", gain_db=gain_db).feed(loud))
    assert (min(out), max(out)) == (-32_768, 32_767)
    assert all((value > 0) == (number % 200 < 100) for number, value in enumerate(out) if number >= 200)


@pytest.mark.parametrize("constant", [0, -1, 20 * OFFSET])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_digital_silence_becomes_zeros(constant: int, rate_hz: int) -> None:
    out = numbers(WideConverter(rate_hz, 1, "S32_LE", gain_db=40).feed(s32(np.full(2 * rate_hz, constant))))
    assert set(out[RATE_HZ:]) == {0}


def test_every_format_says_the_same() -> None:
    samples = (np.rint(tone(RATE_HZ, 1 << 20)) * 256).astype("<i4")
    expected = WideConverter(RATE_HZ, 1, "S32_LE", gain_db=12).feed(samples.tobytes())
    packed = samples.view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
    assert WideConverter(RATE_HZ, 1, "S24_3LE", gain_db=12).feed(packed) == expected
    low = (samples >> 8 & 0xFFFFFF | 0x5A << 24).astype("<i4").tobytes()  # the highest byte may be anything
    assert WideConverter(RATE_HZ, 1, "S24_LE", gain_db=12).feed(low) == expected


def test_a_channel_is_chosen_or_all_are_mixed() -> None:
    left, right = s32(tone(RATE_HZ, 1000 * STEP)), s32(tone(RATE_HZ, 500 * STEP))

    def level(channel: object) -> int:
        converter = WideConverter(RATE_HZ, 2, "S32_LE", channel)  # type: ignore[arg-type]
        return max(numbers(converter.feed(in_stereo(left, right)))[8000:])

    assert [level(0), level(1), level("mix")] == pytest.approx([1000, 500, 750], rel=0.01)
    with pytest.raises(IndexError):
        WideConverter(RATE_HZ, 2, "S32_LE", 2)


@pytest.mark.parametrize("chunk_ms", [5, 20, 100])
def test_resampled_sound_is_in_step_and_has_its_length(chunk_ms: int) -> None:
    converter, said = WideConverter(48_000, 1, "S32_LE"), s32(tone(48_000, 10_000 * STEP))
    size, out, held = 4 * 48 * chunk_ms, b"", 0.0
    for at in range(0, len(said), size):
        out += converter.feed(said[at : at + size])
        held = max(held, min(at + size, len(said)) / 4 / 48_000 - len(out) / 2 / RATE_HZ)
    assert held <= converter.delay_s + 0.005
    got, wanted = numbers(out + converter.flush()), tone(RATE_HZ, 10_000)
    assert abs(len(got) - RATE_HZ) <= 1
    assert max(abs(a - b) for a, b in zip(got[8000:-800], wanted[8000:-800], strict=False)) < 60


def test_the_offset_outlives_a_gap() -> None:
    converter, constant = WideConverter(48_000, 1, "S32_LE"), np.full(48_000, OFFSET * 20)
    converter.feed(s32(constant))
    converter.flush()
    # A new filter would take this for its offset.
    out = numbers(converter.feed(s32(constant[:2400] + 1000 * STEP)) + converter.flush())
    assert out[200:600] == pytest.approx([1000] * 400, rel=0.2)


@pytest.mark.parametrize("gap", [False, True])
def test_nothing_rings_where_the_stream_begins(gap: bool) -> None:
    converter, constant = WideConverter(48_000, 1, "S32_LE", gain_db=30), s32(np.full(48_000, OFFSET * 20))
    out = converter.feed(constant)
    if gap:
        converter.flush()
        out = converter.feed(constant)
    assert set(numbers(out)) == {0}


@pytest.mark.parametrize("gap", [False, True])
@pytest.mark.parametrize("chunk_ms", [20, 100])
def test_a_microphone_that_wakes_up_makes_no_step(gap: bool, chunk_ms: int) -> None:
    """An INMP441 gives zeros for 85 ms, and then its offset."""
    converter, size = WideConverter(48_000, 1, "S32_LE", gain_db=30), 4 * 48 * chunk_ms
    woken = s32(np.where(np.arange(48_000) < 85 * 48, 0, OFFSET * 20))
    out = b""
    for _ in range(2 if gap else 1):
        converter.flush()
        out += b"".join(converter.feed(woken[at : at + size]) for at in range(0, len(woken), size))
    assert set(numbers(out)) == {0}
