import array
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.dsp.pcm import Converter, Resampler, louder, to_16_bit, to_mono

int16 = st.integers(-32_768, 32_767)


def pcm(samples: list[int]) -> bytes:
    return array.array("h", samples).tobytes()


def numbers(data: bytes) -> list[int]:
    return array.array("h", data).tolist()


def interleaved(channels: list[list[int]]) -> bytes:
    return pcm([sample for frame in zip(*channels, strict=True) for sample in frame])


@st.composite
def several_channels(draw: st.DrawFn) -> list[list[int]]:
    frames = draw(st.integers(0, 20))
    return draw(st.lists(st.lists(int16, min_size=frames, max_size=frames), min_size=1, max_size=6))


@given(several_channels())
def test_each_channel_is_found_again(channels: list[list[int]]) -> None:
    for index, samples in enumerate(channels):
        assert numbers(to_mono(interleaved(channels), len(channels), index)) == samples


@given(several_channels())
def test_the_mix_is_the_mean(channels: list[list[int]]) -> None:
    mixed = numbers(to_mono(interleaved(channels), len(channels)))
    means = [sum(frame) / len(frame) for frame in zip(*channels, strict=True)]
    assert len(mixed) == len(means)
    assert all(abs(got - mean) <= 0.501 for got, mean in zip(mixed, means, strict=True))


@given(st.lists(int16), st.integers(1, 8))
def test_equal_channels_mix_to_themselves(samples: list[int], channels: int) -> None:
    assert numbers(to_mono(interleaved([samples] * channels), channels)) == samples


@pytest.mark.parametrize("channel", [-1, 2])
def test_there_is_no_such_channel(channel: int) -> None:
    with pytest.raises(IndexError):
        to_mono(b"", 2, channel)
    with pytest.raises(IndexError):
        Converter(16_000, 2, channel=channel)


@given(st.lists(int16))
def test_every_width_says_the_same(samples: list[int]) -> None:
    for width in (3, 4):
        wide = b"".join((sample << 8 * (width - 2)).to_bytes(width, "little", signed=True) for sample in samples)
        assert numbers(to_16_bit(wide, width)) == samples
    narrow = bytes((sample >> 8) + 128 for sample in samples)
    assert numbers(to_16_bit(narrow, 1)) == [sample >> 8 << 8 for sample in samples]


def test_what_has_the_right_shape_is_not_touched() -> None:
    given, converter = pcm([1, 2, 3]), Converter(16_000)
    assert converter.feed(given) is given
    assert converter.flush() == b""
    assert converter.delay_s == 0


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("chunk_ms", [5, 20, 100])
def test_resampled_sound_is_in_step(rate_hz: int, chunk_ms: int) -> None:
    def tone(hz: int) -> list[int]:
        return [round(10_000 * math.sin(2 * math.pi * 440 * n / hz)) for n in range(hz)]

    resampler, given = Resampler(rate_hz), pcm(tone(rate_hz))
    size, out, held = 2 * (rate_hz * chunk_ms // 1000), b"", 0.0
    for at in range(0, len(given), size):
        out += resampler.feed(given[at : at + size])
        held = max(held, min(at + size, len(given)) / 2 / rate_hz - len(out) / 2 / 16_000)
    assert held <= resampler.delay_s + 0.005  # the step of the measurement of the delay
    got, wanted = numbers(out + resampler.flush()), tone(16_000)
    assert abs(len(got) - len(wanted)) <= 1
    inner = list(zip(got, wanted, strict=False))[800:-800]  # the filter rings where the tone is cut
    assert max(abs(a - b) for a, b in inner) < 20


def test_after_a_flush_the_next_stream_is_a_new_one() -> None:
    resampler, loud = Resampler(48_000), pcm([20_000] * 4_800)
    first = resampler.feed(loud) + resampler.flush()
    second = resampler.feed(bytes(9_600)) + resampler.flush()
    assert len(first) == len(second) == 3_200
    assert max(map(abs, numbers(second))) <= 1  # soxr dithers


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_digital_silence_stays_digital_silence(rate_hz: int) -> None:
    resampler, second = Resampler(rate_hz), [0] * rate_hz
    assert set(numbers(resampler.feed(pcm(second)))) == {0}
    assert set(numbers(resampler.feed(pcm([n % 64 // 32 for n in range(rate_hz)])))) > {0, 1}
    resampler.feed(pcm(second))
    assert set(numbers(resampler.feed(pcm(second)))) == {0}
    resampler.feed(pcm([700] * rate_hz))
    assert set(numbers(resampler.feed(pcm([700] * rate_hz)))) == {700}


def test_numpy_is_not_imported_where_no_rate_differs() -> None:
    code = "import sys; from flowpi.dsp.pcm import Converter; Converter(16000, 2).feed(bytes(8)); "
    subprocess.run([sys.executable, "-W", "ignore", "-c", code + "sys.exit('numpy' in sys.modules)"], check=True)


def test_a_gain_is_limited_to_full_scale_and_none_costs_nothing() -> None:
    given = pcm([100, -100, 20_000, -20_000])
    assert numbers(Converter(16_000, gain_db=20).feed(given)) == [1000, -1000, 32_767, -32_768]
    assert numbers(Converter(16_000, gain_db=-20).feed(given)) == [10, -10, 2000, -2000]
    assert louder(given, 1) is given


LOUD = [1000, -1000, 900] * 50
DEAD = [0] * len(LOUD)
OPPOSITE = [-sample for sample in LOUD]


@pytest.mark.parametrize("channels", [[LOUD, OPPOSITE], [DEAD, LOUD, OPPOSITE], [LOUD, [n * 4 // 5 for n in OPPOSITE]]])
def test_channels_that_cancel_in_the_mix_give_the_loudest(channels: list[list[int]]) -> None:
    assert numbers(to_mono(interleaved(channels), len(channels), "audible")) == LOUD
    assert numbers(Converter(16_000, len(channels), channel="audible").feed(interleaved(channels))) == LOUD


@pytest.mark.parametrize("channels", [[LOUD, LOUD], [LOUD, DEAD], [LOUD, *[DEAD] * 5], [DEAD, DEAD]])
def test_a_dead_channel_is_not_one_that_cancels(channels: list[list[int]]) -> None:
    frames = interleaved(channels)
    assert to_mono(frames, len(channels), "audible") == to_mono(frames, len(channels), "mix")
