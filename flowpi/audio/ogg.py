"""Looks at the pages of an Ogg file for sound that libsndfile passes over without a word. Called by `sndfile.py`.

libsndfile skips a damaged page, and knows by its neighbours how much is missing. The first page with sound and the last
one have but one neighbour. The form of a page: RFC 3533, section 6.
"""

import struct
import zlib
from typing import BinaryIO, NamedTuple

from flowpi.audio.scan import read_at

HEADER = struct.Struct("<5xBQ8xIB")
"""The header of a page, of which `Header` is what matters here."""

LAST = 4
"""The flag of the last page of a stream."""

LARGEST_BYTES = HEADER.size + 255 + 255 * 255
HEADER_PAGES = 64
"""More than come before the sound: three or so for each stream."""

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Header(NamedTuple):
    """The header of a page; `position` is where it ends in the sound, and `lengths` the size of the table behind it."""

    flags: int
    position: int
    checksum: int
    lengths: int


def begins_whole(file: BinaryIO, start: int, end: int) -> bool:
    """Whether the first page with sound in a file is undamaged; True too if it is not all there."""
    at = start
    for _ in range(HEADER_PAGES):
        page = read_at(file, at, min(LARGEST_BYTES, end - at))
        if len(page) < HEADER.size:
            return True
        if not page.startswith(b"OggS"):
            return False  # the one before has another length than it says
        size = _size(page)
        if len(page) < size:
            return True
        if _header(page).position:
            return _is_whole(page)
        at += size
    return True


def ends(file: BinaryIO, size: int) -> bool:
    """Whether the last page of a file is undamaged and says that it is the last one."""
    tail = read_at(file, max(0, size - 2 * LARGEST_BYTES), 2 * LARGEST_BYTES)
    if (at := tail.rfind(b"OggS\0")) < 0:
        return True
    page = tail[at:]
    return len(page) >= HEADER.size and bool(_header(page).flags & LAST) and _is_whole(page)


def _header(page: bytes) -> Header:
    return Header(*HEADER.unpack_from(page))


def _size(page: bytes) -> int:
    """Return the size of the page that some bytes begin with."""
    lengths = _header(page).lengths
    return HEADER.size + lengths + sum(page[HEADER.size : HEADER.size + lengths])


def _is_whole(page: bytes) -> bool:
    """Whether the page that some bytes begin with is all there, with the right checksum.

    That is a CRC in which its own place counts as zero: the one of zlib with the bits of each byte, and of the result,
    the other way round, and nothing inverted.
    """
    size = _size(page)
    if len(page) < size:
        return False
    mirrored = (page[:22] + bytes(4) + page[26:size]).translate(REVERSED)
    crc = zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(REVERSED), "big") == _header(page).checksum
