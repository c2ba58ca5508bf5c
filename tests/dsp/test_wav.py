import io
import struct
import wave

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowpi.dsp.wav import HEADER_BYTES, WavError, riff_chunks, wav_header, wav_payload

whole_frames = st.binary(max_size=200).map(lambda data: data[: len(data) // 2 * 2])


def by_the_standard_library(pcm: bytes, rate_hz: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, width, rate_hz, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


@given(whole_frames)
def test_the_header_is_what_others_write(pcm: bytes) -> None:
    packet = wav_header(len(pcm)) + pcm
    assert packet == by_the_standard_library(pcm)
    assert len(packet) == HEADER_BYTES + len(pcm)


@given(whole_frames)
def test_a_packet_gives_its_pcm_with_a_header_or_without(pcm: bytes) -> None:
    assert bytes(wav_payload(wav_header(len(pcm)) + pcm)) == pcm
    assert bytes(wav_payload(b"\0\0" + pcm)) == b"\0\0" + pcm


def test_chunks_before_the_data_are_passed_over() -> None:
    whole = by_the_standard_library(b"abcd")
    note = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # an odd size is padded
    assert bytes(wav_payload(whole[:36] + note + whole[36:])) == b"abcd"


def test_of_a_wav_that_announces_more_than_it_holds_there_is_what_it_holds() -> None:
    packet = wav_header(0xFFFF_FF00) + b"abcd"
    assert bytes(wav_payload(packet)) == b"abcd"


@pytest.mark.parametrize(("rate_hz", "channels", "width"), [(48_000, 1, 2), (16_000, 2, 2), (16_000, 1, 3)])
def test_another_shape_is_refused(rate_hz: int, channels: int, width: int) -> None:
    packet = by_the_standard_library(bytes(12), rate_hz, channels, width)
    with pytest.raises(WavError, match=f"{rate_hz} Hz, {channels} channels, {8 * width} bits; 16000 Hz, 1, 16 needed"):
        wav_payload(packet)


@pytest.mark.parametrize("size", range(12, HEADER_BYTES))
def test_a_header_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(WavError, match="cut off"):
        wav_payload(wav_header(100)[:size])


@given(st.binary(max_size=100))
@example(b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff")
def test_rubbish_never_breaks_the_walk(data: bytes) -> None:
    assert sum(len(content) for _, content in riff_chunks(data)) <= len(data)
