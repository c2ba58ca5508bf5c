"""Finds the audio in files of the RIFF family (WAV, RF64, BW64, RIFX), also in those that their headers describe badly.

A recorder writes the header first and corrects it at the end. After a crash, or into a pipe, it is never corrected; and
a file that was streamed, or joined from several, has more audio than its first header announces. libsndfile believes
the first header and ignores the rest. So the chunks are walked here, and whatever can only be audio counts as audio.

Called by `sound.py`, which reads the samples; here only headers are read.
"""

import re
import struct
from collections.abc import Generator
from typing import BinaryIO

from msgspec import Struct

from flowpi.audio.scan import read_at, search
from flowpi.dsp.coding import Coding, Form

MAGICS = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}
"""The first four bytes of a file of the family, and the byte order that they stand for."""

JOINED = re.compile(rb"(?:RIFF|RF64|BW64|RIFX)....WAVE(?:fmt |ds64|JUNK|bext|LIST)", re.DOTALL)
"""The beginning of a file, inside of another."""

KNOWN = (
    *(b"data", b"fmt ", b"ds64", b"fact", b"LIST", b"JUNK", b"junk", b"PAD ", b"FLLR", b"bext", b"cue ", b"plst"),
    *(b"smpl", b"inst", b"PEAK", b"DISP", b"acid", b"id3 ", b"ID3 ", b"iXML", b"axml", b"chna", b"_PMX"),
    *MAGICS,
)
"""The names of chunks, as far as they are needed to see where a chunk begins."""

TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")
"""What players append to any file: no audio."""

UNKNOWN_BYTES = 0x7FFF_0000
"""A size from here on stands for "not known": sox, ffmpeg and arecord write different ones."""

PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
MAX_CHANNELS = 64
LARGEST_BYTES = 1 << 48
RATES_HZ = range(4_000, 768_001)


class Shape(Struct, frozen=True):
    """What a `fmt ` chunk says. `coding` is None for one that is not decoded here; `bits` are those that count."""

    rate_hz: int
    channels: int
    coding: Coding | None
    bits: int
    problem: str = ""

    @property
    def frame_bytes(self) -> int:
        return self.channels * (self.coding.width if self.coding else 1)


class Run(Struct, frozen=True):
    """A stretch of audio in the file: where it is, and how many bytes its header announced (None: it did not know)."""

    shape: Shape
    offset: int
    size: int
    announced: int | None


def find_runs(file: BinaryIO, size: int) -> Generator[Run]:
    """Yield the audio of a file of `size` bytes that begins with one of `MAGICS`, in order."""
    at: int | None = 0
    while at is not None:
        at = yield from _walk(file, at, size)


def _walk(file: BinaryIO, start: int, size: int) -> Generator[Run, None, int | None]:
    """Yield the audio of the file that begins at `start`; return where the next one begins, or None."""
    order = MAGICS[read_at(file, start, 4)]
    at, shape, long_bytes = start + 12, None, 0
    while at + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", read_at(file, at, 8))
        if name in MAGICS:
            return at
        body = at + 8
        if name == b"ds64" and length >= 16:
            (long_bytes,) = struct.unpack(f"{order}Q", read_at(file, body + 8, 8).ljust(8, b"\0"))
        elif name == b"fmt " and 16 <= length <= size - body:
            shape = read_shape(read_at(file, body, min(length, 40)), order)
        elif name == b"data" and shape is not None:
            known = long_bytes if length == 0xFFFF_FFFF and long_bytes < LARGEST_BYTES else length
            end, announced, at = _extent(file, body, known, size, order)
            if end > body:
                yield Run(shape, body, end - body, announced)
            continue
        at = _after(file, body + length, length)
    return None


def _extent(file: BinaryIO, body: int, length: int, size: int, order: str) -> tuple[int, int | None, int]:
    """Return where the audio of a `data` chunk ends, how much was announced, and where the next chunk is."""
    if length == 0 and _is_chunk(file, body, size, order):
        return body, None, body
    fits = body + length <= size
    known = length > 0 and (fits or length < UNKNOWN_BYTES or length > 0xFFFF_FFFF)
    following = _after(file, body + length, length) if fits else size
    right = known and fits and (following >= size or _is_end(file, following, size, order))
    joined = search(file, JOINED, body, body + length if right else size)
    if right and joined is None:
        return body + length, length, following
    # The header is wrong, or there are more of them within the audio: all that follows is audio, up to the next file.
    end = size if joined is None else joined
    return end, length if known and not right else None, end


def _is_end(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Whether audio may end here, within the file."""
    return _is_chunk(file, at, size, order) or read_at(file, at, max(map(len, TAGS))).startswith(TAGS)


def _after(file: BinaryIO, end: int, length: int) -> int:
    """Return where the chunk after one of `length` bytes begins: some writers leave out the byte that pads odd ones."""
    return end + 1 if length % 2 and read_at(file, end, 4) not in KNOWN else end


def _is_chunk(file: BinaryIO, at: int, size: int, order: str) -> bool:
    """Whether a chunk begins here: it has a known name, or one of letters and a length that the file has room for."""
    header = read_at(file, at, 8)
    if header[:4] in KNOWN:
        return True
    if len(header) < 8 or not re.fullmatch(rb"[A-Za-z0-9 _-]{4}", header[:4]):
        return False
    return at + 8 + int.from_bytes(header[4:], "little" if order == "<" else "big") <= size + 1


def read_shape(chunk: bytes, order: str) -> Shape:
    """Return what a `fmt ` chunk of at least 16 bytes says."""
    form, channels, rate_hz, _, align, bits = struct.unpack_from(f"{order}HHIIHH", chunk)
    if form == EXTENSIBLE and len(chunk) >= 28:
        form = struct.unpack_from(f"{order}I", chunk, 24)[0] & 0xFFFF  # its GUID begins with the format code
    problem = f"format {form}, {bits} bits, {channels} channels, {rate_hz} Hz"
    if not 0 < channels <= MAX_CHANNELS or rate_hz not in RATES_HZ:
        return Shape(rate_hz, channels, None, bits, problem)
    width = (bits + 7) // 8
    if align % channels == 0 and width < align // channels <= 8:
        width = align // channels  # 24 bits in four bytes, 12 in two
    forms: dict[tuple[int, int], Form] = {(FLOAT, 4): "float", (FLOAT, 8): "float"}
    forms |= {(MULAW, 1): "mulaw", (ALAW, 1): "alaw", **{(PCM, width): "pcm" for width in (1, 2, 3, 4)}}
    known = forms.get((form, width)) if bits else None
    return Shape(rate_hz, channels, Coding(known, width, order == ">") if known else None, bits, problem)
