"""Long files are cut in pauses: no word is cut while there is a pause, no sample is lost, memory stays bounded."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowpi.audio.cutting import PHRASE_S, PIECE_S, Part, Rule, cut, phrases, whole
from flowpi.dsp.format import BYTES_PER_S, RATE_HZ
from flowpi.dsp.level import rms
from tests.speech import two_cities


def loud(seconds: float, amplitude: int = 8000) -> bytes:
    samples = np.random.default_rng(1).integers(-amplitude, amplitude, round(seconds * RATE_HZ), np.int16)
    return samples.tobytes()


def parts_of(pcm: bytes, longest_s: float, step: int = 100_000) -> list[Part]:
    return parts_by(whole(longest_s), pcm, step)


def parts_by(rule: Rule, pcm: bytes, step: int = 100_000) -> list[Part]:
    return list(cut((pcm[at : at + step] for at in range(0, len(pcm), step)), rule))


@pytest.mark.parametrize("kind", [whole, phrases])
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=12), st.integers(1, 6), st.integers(1, 40_000))
def test_the_parts_are_the_sound(
    kind: Callable[[float], Rule], pieces: list[tuple[int, bool]], longest_s: int, step: int
) -> None:
    tenth = loud(0.1)
    pcm = b"".join((tenth if spoken else bytes(len(tenth))) * tenths for tenths, spoken in pieces) + b"ab"
    parts = parts_by(kind(longest_s), pcm, step * 2)
    assert b"".join(part.pcm for part in parts) == pcm
    at = 0
    for part in parts:
        assert part.start_s == at / BYTES_PER_S
        assert 0 < len(part.pcm) <= longest_s * BYTES_PER_S
        at += len(part.pcm)


@pytest.mark.parametrize("pause_s", [8.2, 8.9, 9.6])
def test_a_part_ends_in_the_pause_near_its_end(pause_s: float) -> None:
    pcm = loud(pause_s) + loud(0.3, 20) + loud(12 - pause_s)
    first, second = parts_of(pcm, 10)
    assert pause_s <= second.start_s <= pause_s + 0.3
    assert len(first.pcm) + len(second.pcm) == len(pcm)


def test_without_a_pause_a_part_ends_where_the_speech_is_softest() -> None:
    pcm = loud(9.1) + loud(0.2, 3000) + loud(3)
    _, second = parts_of(pcm, 10)
    assert 9.1 <= second.start_s <= 9.4


def test_short_sound_is_one_part() -> None:
    (part,) = parts_of(two_cities().pcm, 330)
    assert part == Part(0.0, bytearray(two_cities().pcm))
    assert parts_of(b"", 330) == []


@pytest.mark.parametrize("longest_s", [5, 8, 12])
def test_real_speech_is_cut_in_its_pauses(longest_s: float) -> None:
    pcm = two_cities().pcm
    whole = rms(pcm)
    for part in parts_of(pcm, longest_s)[1:]:
        at = round(part.start_s * BYTES_PER_S) // 2 * 2
        assert rms(pcm[at - BYTES_PER_S // 10 : at]) < 0.35 * whole


def test_at_most_one_part_is_held() -> None:
    taken = 0

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield loud(1)

    for number, _ in enumerate(cut(blocks(), whole(10)), 1):
        assert taken <= number * 10 + 1


@pytest.mark.parametrize(("pause_s", "lead_s"), [(0.6, 0.3), (0.8, 0.3), (8.0, 0.3)])
def test_a_phrase_ends_shortly_before_the_speech_after_a_pause(pause_s: float, lead_s: float) -> None:
    pcm = loud(2) + loud(pause_s, 20) + loud(3)
    *_, last = parts_by(phrases(330), pcm)
    assert last.start_s == pytest.approx(2 + pause_s - lead_s)


def test_a_pause_at_the_end_is_no_part_of_its_own() -> None:
    assert len(parts_by(phrases(330), loud(2) + loud(5, 20))) == 1


def test_a_short_pause_does_not_end_a_short_phrase() -> None:
    assert len(parts_by(phrases(330), loud(2) + loud(0.4, 20) + loud(2))) == 1
    assert len(parts_by(phrases(330), loud(7) + loud(0.4, 20) + loud(2))) == 2


def test_a_phrase_without_a_pause_is_as_long_as_the_rule_allows() -> None:
    pcm = loud(14) + loud(0.2, 3000) + loud(14)
    first, *_ = parts_by(phrases(330), pcm)
    assert 14 <= len(first.pcm) / BYTES_PER_S <= 14.2 + PIECE_S
    assert all(len(part.pcm) <= PHRASE_S * BYTES_PER_S for part in parts_by(phrases(330), loud(70)))
