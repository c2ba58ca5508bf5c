"""Clips: where the voice is cut, and which words stay."""

import numpy as np
import pytest

from flowpi.dsp.format import RATE_HZ
from flowpi.server.clips import is_cut, sure_words


def speech(seconds: float, level: float = 3000) -> bytes:
    """Return noise as loud as speech; `level` is its RMS."""
    return np.random.default_rng(1).normal(0, level, int(seconds * RATE_HZ)).astype("<i2").tobytes()


def quiet(seconds: float) -> bytes:
    return speech(seconds, 3)


@pytest.mark.parametrize(
    ("pcm", "before_s", "after_s", "cut"),
    [
        (speech(0.3), 0.0, 0.0, True),
        (speech(0.3) + quiet(0.3), 0.0, 0.3, True),
        (quiet(0.3) + speech(0.3), 0.3, 0.0, True),
        (speech(0.3) + quiet(0.05), 0.0, 0.05, True),
        (quiet(0.05) + speech(0.3), 0.05, 0.0, True),
        (speech(0.9), 0.09, 0.3, True),
        (speech(0.9), 0.11, 0.3, False),
        (speech(0.9), 0.3, 0.09, True),
        (speech(0.9), 0.3, 0.11, False),
        (quiet(0.3) + speech(0.3) + quiet(0.3), 0.3, 0.3, False),
        (quiet(0.05) + speech(0.3) + quiet(0.05), 0.05, 0.05, False),  # the word ends just before the sound does
        (speech(0.9), 0.3, 0.3, False),  # a loud room
    ],
)
def test_where_the_voice_is_cut(pcm: bytes, before_s: float, after_s: float, cut: bool) -> None:
    assert is_cut(pcm, int(before_s * RATE_HZ), int(after_s * RATE_HZ)) == cut


@pytest.mark.parametrize(
    ("pieces", "probabilities", "text"),
    [
        ("\u2581Stop .", [0.98, 0.3], "\u2581Stop."),
        ("\u2581It \u2581was", [0.98, 0.7], "\u2581It"),
        ("\u2581It \u2581was", [0.7, 0.98], "\u2581was"),
        ("\u2581am i able \u2581to", [0.98, 0.98, 0.98, 0.98], "\u2581to"),  # the pieces of a word count together
        ("Stop", [0.98], "Stop"),
        ("", [], ""),
    ],
)
def test_words_that_stay(pieces: str, probabilities: list[float], text: str) -> None:
    assert sure_words([piece.encode() for piece in pieces.split()], probabilities).decode() == text


@pytest.mark.parametrize(
    ("pieces", "probabilities", "text"),
    [
        ("\u2581It \u2581was", [0.5, 0.98], "\u2581It\u2581was"),
        ("\u2581It \u2581was", [0.5, 0.7], "\u2581It"),
        ("\u2581It \u2581was", [0.3, 0.98], "\u2581was"),
        ("\u2581It \u2581am i able", [0.7, 0.98, 0.98, 0.98], "\u2581It"),
        ("\u2581Stop .", [0.7, 0.98], ""),
        ("", [], ""),
    ],
)
def test_words_that_stay_if_only_the_end_is_cut(pieces: str, probabilities: list[float], text: str) -> None:
    of_pieces = [piece.encode() for piece in pieces.split()]
    assert sure_words(of_pieces, probabilities, end_only=True).decode() == text
