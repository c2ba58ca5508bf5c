"""The file of an utterance: how its bytes are laid out, and how they are read back, whole or damaged.

Version 2: a line `flowpi utterance 2`, then records. A record is

    marker (4 bytes), length of the body (uint32), CRC-32 of both and of the body (uint32), body; little-endian
    \\xf5upH  JSON of `About`, first
    \\xf5upA  the frame at which it begins (uint64), then PCM, int16 mono 16 kHz: what one sync made durable
    \\xf5upP  JSON of a profile or null: the one that was chosen after the header was written
    \\xf5upE  JSON of `Ending`, last: the utterance is complete

Zeros may follow a record, up to the next block of the file: see `filler`. They mean nothing.

Whatever happened to a file, reading goes on at the next marker whose record is whole. As a record of sound contains
where it begins, what is missing before it becomes silence of the same length, and every later sound keeps its time.
Version 1 had records without marker and place: such a file is read up to the first damage. A flowpi of before profiles
takes a P for damage, and reads all of the sound.

Nothing here touches a disk except through the file that is passed in. Reading needs as much memory as the sound is
long, and its work is bounded by the size of the file.
"""

import io
import logging
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Annotated, BinaryIO

import msgspec
from msgspec import UNSET, UnsetType

from flowpi.audio.utterance import About, PartId, Utterance
from flowpi.core.ulid import ulid_to_int
from flowpi.dsp.format import FRAME_BYTES

log = logging.getLogger(__name__)

VERSION = 2
MAGIC = b"flowpi utterance 2\n"
MAGIC_1 = b"flowpi utterance 1\n"
ANY_MAGIC = re.compile(rb"flowpi utterance ([1-9]\d{0,3})\n")
MAGIC_BYTES = 32
"""How many bytes of the beginning of a file `version` needs."""

PREFIX = b"\xf5up"
HEADER, AUDIO, PROFILE, ENDING = PREFIX + b"H", PREFIX + b"A", PREFIX + b"P", PREFIX + b"E"
RECORD = struct.Struct("<4sII")
RECORD_1 = struct.Struct("<cII")
CHECKED = struct.Struct("<4sI")
PLACE = struct.Struct("<Q")

MAX_BODY_BYTES = 1 << 21
"""The largest body that is read. What is written is smaller: see `MAX_PIECE_BYTES`."""

MAX_PIECE_BYTES = 1 << 20
MAX_BODY_1_BYTES = 1 << 24
MAX_FILE_BYTES = 1 << 27
"""The largest file that is read: more than the longest utterance that can be configured, an hour (115 MB)."""

BLOCK_BYTES = 4096
"""The block size of ext4: one new byte makes it write the whole block."""

FILLER_SHARE = 8
"""The divisor of a write: filler after it is less than this share of it."""

LOOK_BYTES = 4096
"""How much is read at once when the next marker is searched for."""

LAST_S = 253_402_300_799
"""The end of the year 9999 in Unix seconds: later moments cannot be written as a date."""

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]


class Ending(msgspec.Struct, omit_defaults=True):
    """The end of an utterance of `frames` frames.

    `lost_frames`: how many of them are silence in place of sound that was lost.
    `partial`: more was said than was recorded.
    """

    frames: Count
    lost_frames: Count = 0
    partial: bool = False


class NewerVersion(Exception):
    """The file was written by a later flowpi, and only that can read it: leave it as it is."""


def version(beginning: bytes) -> int | None:
    """Return the version of a file from its first `MAGIC_BYTES` bytes, or None if they are no line of ours."""
    match = ANY_MAGIC.match(beginning)
    return int(match[1]) if match else None


def header(about: About) -> bytes:
    """Return the bytes that a file begins with."""
    plain = msgspec.to_builtins(about)
    if about.profile is None:
        del plain["profile"]  # it then is a file as those of earlier versions
    return MAGIC + _record(HEADER, msgspec.json.encode(plain))


def audio(frame: int, pcm: bytes) -> bytes:
    """Return `pcm` as records.

    Args:
        frame: the number of the first frame of `pcm` in the utterance.
        pcm: int16 mono 16 kHz.
    """
    pieces = range(0, len(pcm), MAX_PIECE_BYTES)
    bodies = ((frame + at // FRAME_BYTES, pcm[at : at + MAX_PIECE_BYTES]) for at in pieces)
    return b"".join(_record(AUDIO, PLACE.pack(first) + body) for first, body in bodies)


def profile(chosen: str | None) -> bytes:
    """Return the record of a profile that was chosen after the header was written."""
    return _record(PROFILE, msgspec.json.encode(chosen))


def ending(end: Ending) -> bytes:
    """Return the record that a complete utterance ends with."""
    return _record(ENDING, msgspec.json.encode(end))


def filler(begin: int, end: int) -> bytes:
    """Return what to append to a write of the bytes `begin` to `end` of a file if another write will follow.

    These are zeros up to the next block, so that the next write touches no block twice; nothing if that would be a
    large share of the write.
    """
    rest = -end % BLOCK_BYTES
    return bytes(rest) if rest * FILLER_SHARE < end - begin else b""


def _record(marker: bytes, body: bytes) -> bytes:
    checked = CHECKED.pack(marker, len(body))
    return checked + zlib.crc32(body, zlib.crc32(checked)).to_bytes(4, "little") + body


def parse(data: bytes, part: PartId) -> Utterance | None:
    """Return what `read` returns for a file with this content."""
    return read(io.BytesIO(data), part)


def read(file: BinaryIO, part: PartId, *, any_id: bool = False) -> Utterance | None:
    """Read an utterance, whole or as much of it as can be read.

    Args:
        part: the part whose file this is, by its name.
        any_id: return the utterance even if its content belongs to another part, as in a file that was renamed.

    Returns:
        The utterance, or None if there is none in the file, or another part. It is `partial` if something that was
        said is not in it: the end, as after a crash, or a piece. It is `damaged` if the file contains more that cannot
        be read.

    Raises:
        NewerVersion: only a later flowpi can read it.
        OSError: the file cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    if size > MAX_FILE_BYTES:
        return None
    file.seek(0)
    found = version(file.read(MAGIC_BYTES))
    if found is not None and found > VERSION:
        raise NewerVersion(f"version {found}")
    utterance = _read_1(file, size) if found == 1 else None
    if utterance is None:  # also if the first line is damaged or wrongly says 1: the records identify themselves
        utterance = _read_2(file, size, part)
    return utterance if utterance is not None and (any_id or utterance.part_id == part) else None


def _read_2(file: BinaryIO, size: int, part: PartId) -> Utterance | None:
    """Read all whole records; None if none of them belongs to an utterance. Without a header, `part` stands for it."""
    about: About | None = None
    chosen: str | UnsetType | None = UNSET
    end: Ending | None = None
    pcm = bytearray()
    frames = 0  # the place that the records claim; in a hostile file more than `pcm` holds
    expected = len(MAGIC)
    missing = 0
    lost = 0
    damaged = False
    for at, marker, body in _records(file, size):
        damaged = damaged or not _is_filler(file, expected, at)
        # Filler counts as missing too: a lost block may read as zeros. Whether sound is missing is decided by `first`.
        missing += max(0, at - expected)
        expected = at + RECORD.size + len(body)
        try:
            if marker == HEADER and about is None and not pcm:
                about = _about(body)
                missing = 0
            elif marker == AUDIO and len(body) > PLACE.size and len(body) % FRAME_BYTES == 0:
                (first,) = PLACE.unpack_from(body)
                if first < frames:
                    damaged = True
                    continue
                # Never more silence than bytes are missing in the file: a hostile number must not cost memory.
                hole = min(first - frames, missing // FRAME_BYTES)
                pcm += bytes(hole * FRAME_BYTES)
                pcm += memoryview(body)[PLACE.size :]
                damaged = damaged or first > frames
                frames = first + (len(body) - PLACE.size) // FRAME_BYTES
                lost += hole
                missing = 0
            elif marker == PROFILE:
                chosen = msgspec.json.decode(body, type=str | None)
            elif marker == ENDING:
                end = msgspec.json.decode(body, type=Ending)
                hole = min(max(end.frames - frames, 0), missing // FRAME_BYTES) if pcm else 0
                pcm += bytes(hole * FRAME_BYTES)
                lost += hole
                break
            else:
                damaged = True
        except (msgspec.MsgspecError, RecursionError):
            damaged = True
    if about is None:
        if end is None and not pcm:
            return None
        about, damaged = About(part.utterance, _moment(part.utterance), part.part), True
    if chosen is not UNSET:
        about = msgspec.structs.replace(about, profile=chosen)
    whole = end is not None and end.frames == frames and not damaged
    utterance = Utterance(about, pcm=pcm, complete=True, partial=not whole or (end is not None and end.partial))
    utterance.lost_frames = min(lost + (end.lost_frames if end else 0), len(pcm) // FRAME_BYTES)
    utterance.damaged = damaged or (end is not None and not whole) or (end is None and _is_damage(file, expected, size))
    return utterance


def _records(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the offset, the marker and the body of each whole record.

    The work is limited by a budget, because a file of nothing but markers would otherwise cost its size squared.
    """
    budget = 4 * size + (1 << 20)
    at = len(MAGIC)
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        at = _next_marker(file, 0, size)
    while at < size and budget > 0:
        file.seek(at)
        head = file.read(RECORD.size)
        if len(head) < RECORD.size:
            return
        marker, length, checksum = RECORD.unpack(head)
        if (
            marker in (HEADER, AUDIO, PROFILE, ENDING)
            and length <= MAX_BODY_BYTES
            and length <= size - at - RECORD.size
        ):
            budget -= length
            body = file.read(length)
            if len(body) == length and zlib.crc32(body, zlib.crc32(head[: CHECKED.size])) == checksum:
                yield at, marker, body
                at += RECORD.size + length
                continue
        budget -= LOOK_BYTES
        at = _next_marker(file, at + 1, size)


def _next_marker(file: BinaryIO, at: int, size: int) -> int:
    """Return the offset of the next possible record from `at` on, or `size` if there is none."""
    while at < size:
        file.seek(at)
        look = file.read(LOOK_BYTES)
        if (found := look.find(PREFIX)) >= 0:
            return at + found
        if len(look) < LOOK_BYTES:
            return size
        at += LOOK_BYTES - len(PREFIX) + 1  # a marker may lie across the border
    return size


def _is_filler(file: BinaryIO, at: int, end: int) -> bool:
    """Whether the bytes between two records are what `filler` returns: zeros to the end of the block, or none."""
    file.seek(at)
    return at == end or (end == at + -at % BLOCK_BYTES and not any(file.read(end - at)))


def _is_damage(file: BinaryIO, at: int, size: int) -> bool:
    """Whether the bytes after the last whole record are more than one record that a crash cut off."""
    block = min(at + -at % BLOCK_BYTES, size)
    if _is_filler(file, at, block):
        at = block
    file.seek(at)
    head = file.read(RECORD.size)
    if len(head) < RECORD.size:
        return False
    marker, length, _ = RECORD.unpack(head)
    if marker in (AUDIO, PROFILE, ENDING) and at + RECORD.size + length > size:
        return False
    file.seek(at)
    while piece := file.read(1 << 16):
        if piece.count(0) < len(piece):  # only zeros: a crash after the length reached the disk, and before the sound
            return True
    return False


def _read_1(file: BinaryIO, size: int) -> Utterance | None:
    """Read a file of version 1 up to the first damage; None if its header cannot be read."""
    about: About | None = None
    end: Ending | None = None
    pcm = bytearray()
    at = len(MAGIC_1)
    file.seek(at)
    while at + RECORD_1.size <= size and end is None:
        kind, length, checksum = RECORD_1.unpack(file.read(RECORD_1.size))
        at += RECORD_1.size + length
        body = file.read(length) if length <= min(MAX_BODY_1_BYTES, size) else b""
        if len(body) < length or zlib.crc32(body, zlib.crc32(kind)) != checksum:
            break
        try:
            if kind == b"H" and about is None:
                about = _about(body)
            elif kind == b"A" and about is not None:
                pcm += body
            elif kind == b"E" and about is not None:
                end = msgspec.json.decode(body, type=Ending)
            else:
                break
        except (msgspec.MsgspecError, RecursionError):
            break
    if about is None:
        return None
    whole = end is not None and end.frames * FRAME_BYTES == len(pcm)
    utterance = Utterance(about, pcm=pcm, complete=True, partial=not whole)
    utterance.lost_frames = min(end.lost_frames, end.frames) if end else 0
    utterance.damaged = end is None and at + RECORD_1.size <= size
    return utterance


def _about(body: bytes) -> About:
    """Decode a header. A context or a profile in the form of another version is left out: the speech matters more.

    Raises:
        msgspec.MsgspecError: it is no header.
    """
    try:
        about = msgspec.json.decode(body, type=About)
    except msgspec.ValidationError as error:
        log.debug("without its context: %s", error)
        plain = msgspec.json.decode(body, type=dict)
        profile = plain.get("profile") if isinstance(plain.get("profile"), str) else None
        about = msgspec.convert({**plain, "context": {}, "profile": profile}, About)
    if not 0 <= about.started_at <= LAST_S:
        about = msgspec.structs.replace(about, started_at=0.0)
    return about


def _moment(utterance_id: str) -> float:
    """Return the Unix seconds at which the id was made."""
    return min((ulid_to_int(utterance_id) >> 80) / 1000, LAST_S)
