"""Searching a file block by block finds what searching all of it would find."""

import io
import re

import pytest

from flowpi.audio.scan import BLOCK_BYTES, LONGEST_MATCH, read_at, search, search_all

LONG = b"RIFF" + bytes(LONGEST_MATCH - 8) + b"WAVE"
PATTERN = re.compile(re.escape(LONG))


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize(
    "at", [BLOCK_BYTES + shift for shift in (-LONGEST_MATCH, -LONGEST_MATCH + 1, -33, -1, 0, 1, BLOCK_BYTES - 1)]
)
def test_what_lies_across_two_blocks_is_found_once(at: int, start: int) -> None:
    place = at + start
    file = io.BytesIO(bytes(place) + LONG + bytes(BLOCK_BYTES))
    size = file.seek(0, io.SEEK_END)
    assert list(search_all(file, PATTERN, start, size)) == [place]
    assert search(file, PATTERN, start, size) == place
    assert search(file, PATTERN, place + 1, size) is None
    assert search(file, PATTERN, start, place + len(LONG) - 1) is None


def test_all_are_found_in_order() -> None:
    file = io.BytesIO(LONG * 40_000)
    size = 40_000 * len(LONG)
    assert list(search_all(file, PATTERN, 0, size)) == list(range(0, size, len(LONG)))


def test_fewer_bytes_are_read_at_the_end() -> None:
    assert [read_at(io.BytesIO(b"abc"), offset, 2) for offset in (0, 2, 3, 9)] == [b"ab", b"c", b"", b""]
