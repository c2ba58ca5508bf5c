"""Noise suppression: what it does to sound, and to whom it is given."""

import logging
import sys

import numpy as np
import pytest

from flowpi.audio.denoise import filters, speex, unfiltered
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.level import measure
from flowpi.server.engines import Expected, load_engine
from tests import models
from tests.sound import noise
from tests.speech import human, word_error_rate

SECOND = RATE_HZ * FRAME_BYTES
NOISE_DB = 10.0
"""How far the noise is below the speech."""


def hiss(seconds: float) -> bytes:
    """Return steady white noise."""
    return np.random.default_rng(1).normal(0, 1000, int(seconds * RATE_HZ)).astype("<i2").tobytes()


def test_steady_noise_is_reduced() -> None:
    heard, denoised = hiss(3), speex()(hiss(3))
    assert len(denoised) == len(heard)
    assert measure(denoised[2 * SECOND :]).dbfs < measure(heard[2 * SECOND :]).dbfs - 10


@pytest.mark.parametrize("piece", [320, 3200, 32_000])
def test_each_reader_hears_the_same(piece: int) -> None:
    sound, again = noise(2.345), speex()
    assert b"".join(again(sound[at : at + piece]) for at in range(0, len(sound), piece)) == speex()(sound)


@pytest.mark.parametrize("missing", ["pyspeex_noise", "speex_noise_cpp"], ids=["all of it", "its part in C"])
def test_without_the_library_the_sound_is_as_it_was(
    missing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "pyspeex_noise", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with caplog.at_level(logging.WARNING):
        assert filters("speex") is unfiltered
    assert unfiltered()(hiss(0.1)) == hiss(0.1)
    assert "pip install 'flowpi[denoise]'" in caplog.text


def test_fewer_words_are_lost_in_noise() -> None:
    engine = load_engine("moonshine", models.tiny())
    reference = " ".join(recording.text for recording in human())
    texts: dict[bool, list[str]] = {False: [], True: []}
    for recording in human():
        noisy = in_noise(recording.pcm)
        for denoised, pcm in ((False, noisy), (True, speex()(noisy))):
            recognition = engine.recognition(Expected(("en",)))
            recognition.hurry()
            recognition.feed(pcm)
            texts[denoised].append(recognition.finish())
    errors = {denoised: word_error_rate(reference, " ".join(these)) for denoised, these in texts.items()}
    assert errors[True] < errors[False] * 0.9, errors


def in_noise(pcm: bytes) -> bytes:
    """Return speech in white noise, `NOISE_DB` below the loud half of the speech."""
    speech = np.frombuffer(pcm, np.int16).astype(np.float64)
    frames = speech[: len(speech) // 320 * 320].reshape(-1, 320)
    power = (frames**2).mean(axis=1)
    loud = power[power >= np.median(power)].mean()
    white = np.random.default_rng(1).normal(0, np.sqrt(loud / 10 ** (NOISE_DB / 10)), len(speech))
    return bytes((speech + white).clip(-32_768, 32_767).astype("<i2").tobytes())
