"""WAV files with all forms of PCM, and a file as a microphone. `test_sound.py` has all other forms and faults."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.sound import read_sound
from flowpi.audio.source import Gap
from flowpi.audio.wav import WavSource
from flowpi.core.errors import MicrophoneError
from flowpi.dsp.format import RATE_HZ
from flowpi.dsp.level import measure
from tests.audio.listening import sine
from tests.audio.variants import VARIANTS, reference

PERIOD_BYTES = RATE_HZ // 50 * 2


def wav(
    payload: bytes,
    *,
    form: int = 1,
    channels: int = 1,
    rate_hz: int = RATE_HZ,
    bits: int = 16,
    before: bytes = b"",
    guid: bytes = b"",
) -> bytes:
    """Return the bytes of a WAV file, valid or broken."""
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", form, channels, rate_hz, rate_hz * frame, frame, bits) + guid
    chunks = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) & 0xFFFFFFFF) + b"WAVE" + chunks


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "speech.wav"
    path.write_bytes(data)
    return path


def read_wav(path: Path) -> bytes:
    pcm, warnings = read_sound(path)
    assert warnings == []
    return pcm


def widened(samples: "list[int]", bits: int) -> bytes:
    if bits == 8:
        return bytes((sample >> 8) + 128 for sample in samples)
    return b"".join((sample << bits - 16).to_bytes(bits // 8, "little", signed=True) for sample in samples)


def test_what_flowpi_speaks_is_read_bit_by_bit(tmp_path: Path) -> None:
    payload = sine(0.1).tobytes()
    assert read_wav(written(tmp_path, wav(payload))) == payload


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_any_pcm_has_its_length_and_level(tmp_path: Path, bits: int, channels: int, rate_hz: int) -> None:
    samples = [sample for sample in sine(0.5, rate_hz) for _ in range(channels)]
    path = written(tmp_path, wav(widened(samples, bits), channels=channels, rate_hz=rate_hz, bits=bits))
    pcm = read_wav(path)
    assert abs(len(pcm) // 2 - RATE_HZ // 2) <= 1
    assert measure(pcm).dbfs == pytest.approx(-13.3, abs=0.2)


def test_the_extensible_header_is_read(tmp_path: Path) -> None:
    guid = struct.pack("<HHI", 22, 24, 4) + b"\x01\x00\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    payload = widened(list(sine(0.1)), 24)
    assert read_wav(written(tmp_path, wav(payload, form=0xFFFE, bits=24, guid=guid))) == sine(0.1).tobytes()


def test_other_chunks_are_skipped(tmp_path: Path) -> None:
    odd = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert read_wav(written(tmp_path, wav(b"abcd", before=odd))) == b"abcd"


@pytest.mark.parametrize("bits", ["8", "16", "24", "32"])
def test_what_sox_writes_is_read(tmp_path: Path, bits: str) -> None:
    path = tmp_path / "sox.wav"
    command = [
        "sox",
        "-n",
        "-r",
        "48000",
        "-c",
        "2",
        "-b",
        bits,
        str(path),
        "synth",
        "0.5",
        "sine",
        "440",
        "gain",
        "-6",
    ]
    subprocess.run(command, check=True)
    pcm = read_wav(path)
    assert abs(len(pcm) // 2 - RATE_HZ // 2) <= 1
    assert measure(pcm).dbfs == pytest.approx(-9.0, abs=0.2)


# As a microphone: time is passed in, so nothing here waits


@given(st.lists(st.floats(0, 0.5), max_size=20))
def test_it_plays_once_and_then_is_silent(tmp_path_factory: pytest.TempPathFactory, pauses: list[float]) -> None:
    speech = bytes(range(1, 251)) * 26  # about 200 ms without a silent sample, and no whole number of periods
    path = tmp_path_factory.getbasetemp() / "said.wav"
    path.write_bytes(wav(speech))
    source, now, heard = WavSource(path), 1000.0, b""
    source.open(now)
    for pause in pauses:
        now += pause
        for piece in source.read(now):
            assert not isinstance(piece, Gap)
            heard += piece
        assert (now - 1000.0) * 32_000 - PERIOD_BYTES - 1 <= len(heard) <= (now - 1000.0) * 32_000 + 1
    assert heard == (speech + bytes(len(heard)))[: len(heard)]


@given(st.floats(0, 1e6), st.integers(0, 10_000), st.floats(0, 0.1))
def test_a_read_when_due_finds_just_one_more_period(
    tmp_path_factory: pytest.TempPathFactory, opened: float, periods: int, ahead: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "said.wav"
    path.write_bytes(wav(b"abcd"))
    source = WavSource(path)
    source.open(opened)
    now = opened + periods * 0.02 + 0.01
    source.read(now)
    due = source.due(now + ahead)
    assert now + ahead <= due <= now + ahead + 0.02 + 1e-6
    (heard,) = source.read(due)
    assert isinstance(heard, bytes)
    assert len(heard) == PERIOD_BYTES * round((due - opened) / 0.02 - periods)


def test_due_at_the_edge_that_was_just_read_is_the_next_one(tmp_path: Path) -> None:
    source = WavSource(written(tmp_path, wav(b"abcd")))
    source.open(0.0)
    assert len(source.read(0.02)) == 1
    assert source.due(0.02) == pytest.approx(0.04)


def test_a_file_that_cannot_be_played_is_a_microphone_that_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(MicrophoneError, match=r"is no sound file.*give a WAV"):
        WavSource(written(tmp_path, b"no")).open(0.0)


def test_any_form_of_file_is_played_and_what_it_lacks_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (cut,) = (variant for variant in VARIANTS if variant.name == "50d_FLAC_cut_in_half")
    source = WavSource(written(tmp_path, cut.data))
    source.open(0.0)
    (heard,) = source.read(0.5)
    assert isinstance(heard, bytes)
    assert heard == reference()[: len(heard)]
    assert "that it announces" in caplog.text


def test_a_fifo_would_block_the_daemon_and_is_no_microphone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(MicrophoneError, match="is no regular file"):
        WavSource(tmp_path / "fifo").open(0.0)
