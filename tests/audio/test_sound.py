"""Sound files of all kinds: the right samples, the right warning or the right sentence; and memory that stays flat."""

import audioop
import contextlib
import errno
import os
import re
import resource
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.sound import BLOCK_FRAMES, open_sound
from flowpi.core.errors import CannotCreateError, DataError, NoInputError, NoPermissionError, UnavailableError
from flowpi.dsp.format import RATE_HZ
from tests.audio.variants import (
    SECONDS,
    VARIANTS,
    Variant,
    encoded,
    in_four_bytes,
    reference,
    samples,
    stereo,
    wav,
)

EXACT_S = 0.005
"""What a header may make of the half of a file."""

LENGTH_S = 0.07
"""A codec that works in blocks may add or miss so much at the end."""


def read(path: Path | str, *, pipes: bool = False) -> tuple[bytes, list[str]]:
    with open_sound(path, pipes=pipes) as sound:
        return b"".join(sound.blocks()), sound.warnings()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_file_gives_its_sound_or_a_sentence(
    variant: Variant, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(variant.data)
    if variant.refused:
        with pytest.raises(DataError, match=variant.refused):
            read(path)
        return
    pcm, warnings = read(path)
    expected = reference() * variant.times
    if variant.share:
        expected = expected[: round(len(expected) * variant.share) // 2 * 2]
        tolerance_s = EXACT_S if variant.likeness == 1 else LENGTH_S
        assert len(pcm) / len(expected) == pytest.approx(1, abs=tolerance_s / SECONDS)
    else:
        assert 0.2 * RATE_HZ < len(pcm) // 2 < len(expected) // 2
    times = variant.times if variant.share else 1
    for piece in range(times):
        size = len(pcm) // times // 2 * 2
        alike(pcm[piece * size :][:size], expected if times == 1 else reference(), variant.likeness)
    assert len(warnings) == bool(variant.warning), warnings
    assert re.search(variant.warning, "".join(warnings))
    assert capfd.readouterr().err == ""


def alike(pcm: bytes, expected: bytes, least: float) -> None:
    """Check that the sound is the same, as far as both go: to one step of 16 bits if `least` is 1."""
    frames = min(len(pcm), len(expected)) // 2
    one, two = (np.frombuffer(each, "<i2")[:frames].astype(float) for each in (pcm, expected))
    if least == 1:
        assert abs(one - two).max() <= 1
    else:
        assert one @ two / max(1.0, np.sqrt((one @ one) * (two @ two))) >= least


@given(st.binary(max_size=300))
def test_garbage_is_refused_or_read_but_never_breaks(tmp_path_factory: pytest.TempPathFactory, garbage: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage"
    whole = wav(garbage[:100])
    heads = (
        b"",
        b"RIFF\0\0\0\0WAVE",
        b"RF64\0\0\0\0WAVEds64\x1c\0\0\0",
        whole[:-50],
        whole,
        b"fLaC\0\0\0\x22",
        b"OggS\0\x02",
    )
    for head in heads:
        path.write_bytes(head + garbage)
        with contextlib.suppress(DataError):
            assert read(path)[0]


def test_24_bits_in_four_bytes_are_told_apart_also_where_a_file_begins_in_silence(tmp_path: Path) -> None:
    path, silence = tmp_path / "speech.wav", bytes(4 * 3 * BLOCK_FRAMES)
    path.write_bytes(wav(silence + in_four_bytes(high=True), bits=24, align=4))
    pcm, _ = read(path)
    assert pcm == bytes(len(silence) // 2) + reference()


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_what_a_codec_makes_louder_than_full_scale_is_clipped(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "loud"
    path.write_bytes(encoded(form, subtype, gain=100))
    pcm, _ = read(path)
    alike(pcm, (samples() * 3_276_800).clip(-32_768, 32_767).astype("<i2").tobytes(), 0.98)


def test_a_stereo_file_in_which_the_channels_nearly_cancel_gives_the_louder_one(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(stereo(0.8, -1), channels=2))
    pcm, _ = read(path)
    alike(pcm, audioop.mul(reference(), 2, -1), 0.999)


@contextlib.contextmanager
def on_stdin(handle: int) -> Iterator[None]:
    """Make an open file the standard input of this process, for the length of a block."""
    before = os.dup(0)
    try:
        os.dup2(handle, 0)
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@contextlib.contextmanager
def piped(*pieces: bytes) -> Iterator[int]:
    """Yield the reading end of a pipe into which a thread writes pieces, until nobody reads it."""
    end, other = os.pipe()

    def write() -> None:
        with open(other, "wb", buffering=0) as file, contextlib.suppress(BrokenPipeError):
            for piece in pieces:
                file.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield end
    finally:
        os.close(end)
        writer.join()


@pytest.mark.parametrize("name", ["05_two_files_joined", "50_FLAC", "52_MP3", "01_data_size_0", "24_float"])
@pytest.mark.parametrize("stdin", ["-", "/dev/stdin"])
def test_what_comes_through_a_pipe_is_read_like_a_file(tmp_path: Path, name: str, stdin: str) -> None:
    (variant,) = (variant for variant in VARIANTS if variant.name == name)
    path, fifo = tmp_path / "speech", tmp_path / "fifo"
    path.write_bytes(variant.data)
    expected = read(path)
    with piped(variant.data) as end, on_stdin(end):
        assert read(stdin, pipes=True) == expected
    with open(path, "rb") as file, on_stdin(file.fileno()):
        assert read(stdin, pipes=True) == expected
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(variant.data,))
    writer.start()
    assert read(fifo, pipes=True) == expected
    writer.join()


def test_an_endless_pipe_of_something_else_is_refused_at_once() -> None:
    with piped(*[bytes(1 << 16)] * 64) as end, on_stdin(end):
        with pytest.raises(DataError, match="'standard input' is no sound file"):
            read("-", pipes=True)
        assert os.read(end, 1)  # the rest of it is still there


def test_what_others_must_convert_is_told_for_a_pipe_too() -> None:
    data = b"\0\0\0\x20ftypM4A " + bytes(100)
    with piped(data) as end, on_stdin(end), pytest.raises(DataError, match=r"ffmpeg -i - .* \| flowpi transcribe -"):
        read("-", pipes=True)


def test_a_pipe_for_which_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: full)
        with piped(wav()) as end, on_stdin(end), pytest.raises(CannotCreateError, match=r"No space left.*TMPDIR"):
            read("-", pipes=True)


@pytest.mark.parametrize("endless", ["/dev/zero", "fifo"])
def test_unless_pipes_are_allowed_only_regular_files_are_read(tmp_path: Path, endless: str) -> None:
    path = tmp_path / "fifo" if endless == "fifo" else Path(endless)
    if endless == "fifo":
        os.mkfifo(path)
    with pytest.raises(DataError, match="is no regular file: give the path of a sound file"):
        read(path)


def test_a_device_is_refused_where_a_pipe_is_not() -> None:
    with pytest.raises(DataError, match="is no regular file"):
        read("/dev/zero", pipes=True)
    with open("/dev/null", "rb") as file, on_stdin(file.fileno()), pytest.raises(DataError, match="neither a file nor"):
        read("-", pipes=True)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="No such file"):
        read(tmp_path / "absent.wav")
    with pytest.raises(NoInputError, match="Is a directory"):
        read(tmp_path)


def test_a_file_that_this_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "their own.wav"
    path.write_bytes(wav())

    def refuse(*arguments: object, **more: object) -> NoReturn:  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(NoPermissionError, match=r"\(Permission denied\): .*chmod a\+r '.*their own.wav'") as caught:
        read(path)
    assert caught.value.exit_code == 77


def test_without_the_library_wav_is_read_and_the_rest_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    path = tmp_path / "speech"
    path.write_bytes(wav(size=0))
    assert read(path) == (reference(), [])
    path.write_bytes(encoded("FLAC", "PCM_16"))
    with pytest.raises(UnavailableError, match="soundfile, which reads FLAC, is not installed"):
        read(path)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "FLOAT")])
def test_an_hour_needs_no_more_memory_than_a_minute(tmp_path: Path, form: str, subtype: str) -> None:
    path = tmp_path / "long"
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, subtype, format=form) as file:
        for _ in range(600):  # twenty minutes
            file.write(samples())
    with open_sound(path) as sound:
        blocks = sound.blocks()
        next(blocks)
        tracemalloc.start()
        try:
            frames = sum(len(block) for block in blocks) // 2
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert frames > 1100 * RATE_HZ
    assert most < 8 << 20  # the sound has 38 MB


def test_a_disk_that_a_pipe_fills_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is still in the buffer is written again at the close, and fails again."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with piped(wav()[:5000]) as end, on_stdin(end):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
        try:
            with pytest.raises(CannotCreateError, match="cannot keep what 'standard input' gives"):
                read("-", pipes=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
