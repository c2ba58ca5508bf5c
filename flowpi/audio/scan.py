"""Reads pieces of a file, and searches it for a pattern, without holding more than a block of it."""

import re
from collections.abc import Iterator
from typing import BinaryIO

BLOCK_BYTES = 1 << 20
LONGEST_MATCH = 64
"""No pattern that is searched for matches more bytes."""


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return up to `size` bytes from `offset` on; fewer at the end."""
    file.seek(offset)
    return file.read(size)


def search_all(file: BinaryIO, pattern: re.Pattern[bytes], start: int, end: int) -> Iterator[int]:
    """Yield the offset of each match that begins in `start` to `end`."""
    for at in range(start, end, BLOCK_BYTES):
        block = read_at(file, at, min(BLOCK_BYTES + LONGEST_MATCH, end - at))
        yield from (at + match.start() for match in pattern.finditer(block) if match.start() < BLOCK_BYTES)


def search(file: BinaryIO, pattern: re.Pattern[bytes], start: int, end: int) -> int | None:
    """Return the offset of the first match that begins in `start` to `end`, or None."""
    return next(search_all(file, pattern, start, end), None)
