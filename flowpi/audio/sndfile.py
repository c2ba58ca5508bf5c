"""Reads sound files of all forms that libsndfile knows: FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF, W64 and more.

`soundfile`, its binding, comes with the extra `local`; it and numpy are imported when a file is read. Called by
`sound.py`. libsndfile reads only the first of several files that were joined to one, so each is given to it by itself.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from io import SEEK_CUR, SEEK_END, SEEK_SET
from typing import Any, BinaryIO

from flowpi.audio import ogg
from flowpi.audio.riff import JOINED as JOINED_RIFF
from flowpi.audio.riff import RATES_HZ, UNKNOWN_BYTES
from flowpi.audio.scan import LONGEST_MATCH, read_at, search_all
from flowpi.audio.tally import Raw, Tally, Unreadable
from flowpi.core.errors import UnavailableError

READ_FRAMES = 1024
"""How much is read at once. This much is lost where a file is damaged: an error discards what was read with it."""

BLOCK_READS = 64
ENDLESS = 1 << 40
"""More than any file has, and less than what overflows when it is counted in samples."""

UNREAD_BYTES = 4096
"""More than the tags that usually follow the sound, and about a second of it at the lowest rates."""

MOST_ERRORS = 50
"""After so many errors with no sound between them, the rest of a file counts as unreadable."""

BEGINNINGS: dict[str, re.Pattern[bytes]] = {
    "FLAC": re.compile(rb"fLaC\0\0\0\x22"),
    "Ogg": re.compile(rb"OggS\0\x02"),
    # The frame that LAME and others begin with: it says how many follow, and no more are read.
    "MP3": re.compile(rb"\xff[\xe2-\xff]..(?:..)?\0{7,32}(?:Xing|Info)", re.DOTALL),
    "AIFF": re.compile(rb"FORM....AIF[FC]", re.DOTALL),
    "AU": re.compile(rb"\.snd\0\0..", re.DOTALL),
    "CAF": re.compile(rb"caff\0\x01\0\0"),
    "WAV": JOINED_RIFF,
}
"""How a file of each form begins, to find others inside."""

CORRECTED = re.compile(r": (\d+) \(should be (\d+)\)")
"""What libsndfile notes where a header announces more than there is."""


def read_blocks(file: BinaryIO, size: int, form: str, tally: Tally) -> Iterator[Raw]:
    """Yield the sound of a file of `size` bytes, in order.

    Raises:
        UnavailableError: the library is not installed.
        Unreadable: it does not know the form, or finds nothing that it can read.
    """
    bounds = [0, *_joined(file, size, form), size]
    if form == "Ogg" and not ogg.ends(file, size):
        tally.remarks.append("its end is missing")
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        if form == "Ogg" and not ogg.begins_whole(file, start, end):
            tally.remarks.append("its beginning is damaged")
        try:
            window = Window(file, start, end, endless=form == "MP3" and not _says_its_length(file, start))
            yield from _read_one(window, form, tally)
            if form in BEGINNINGS and window.unread > UNREAD_BYTES:
                tally.remarks.append(f"{window.unread} bytes after its sound were not read")
        except Unreadable as error:
            if number == 0:
                raise
            tally.remarks.append(f"{end - start} bytes of it could not be read ({error})")


def _joined(file: BinaryIO, size: int, form: str) -> Iterator[int]:
    """Yield where a file begins inside of this one."""
    pattern = BEGINNINGS.get(form)
    if pattern is None:
        return
    before = 0
    for at in search_all(file, pattern, _tag_bytes(read_at(file, 0, 10)) + 1, size):
        # The streams of one Ogg file, such as sound and picture, all begin before the first page of data.
        together = form == "Ogg" and not re.search(
            rb"OggS\0[^\x02\x03]", read_at(file, before, min(at - before, 1 << 16))
        )
        if not together:
            yield at
        before = at


def _tag_bytes(head: bytes) -> int:
    """Return how long an ID3 tag is that a file begins with; 0 if there is none."""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))


def _says_its_length(file: BinaryIO, start: int) -> bool:
    """Whether an MP3 begins with a frame that says how many follow."""
    beginning = start + _tag_bytes(read_at(file, start, 10))
    return BEGINNINGS["MP3"].match(read_at(file, beginning, LONGEST_MATCH)) is not None


def _read_one(window: "Window", form: str, tally: Tally) -> Iterator[Raw]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the binding is there, the library is not
        raise UnavailableError(f"soundfile, which reads {form}, is not installed", "pip install soundfile") from error

    class Forward(soundfile.SoundFile):  # type: ignore[misc]
        """A file that is read from beginning to end.

        A seekable one is sought in after each read: that doubles the time, and fails at the end of some.
        """

        def seekable(self) -> bool:
            return False

    with _quiet(form):
        try:
            sound: Any = Forward(window)
        except (soundfile.LibsndfileError, TypeError) as error:
            raise Unreadable(str(getattr(error, "error_string", error)).rstrip(".")) from None
    with sound:
        if sound.samplerate not in RATES_HZ:
            raise Unreadable(f"{sound.samplerate} Hz")
        tally.expected_s += _announced(sound, 0) / sound.samplerate
        frames = 0
        for raw in _blocks(sound, form, soundfile.LibsndfileError):
            frames += raw.frames
            yield raw
        if "Seems to be a truncated file" in sound.extra_info:
            tally.remarks.append("its end is missing")
        tally.announced_s += max(_announced(sound, frames), frames) / sound.samplerate


def _blocks(sound: Any, form: str, damage: type[Exception]) -> Iterator[Raw]:
    """Yield the sound of an open file, and go on after what cannot be decoded."""
    import numpy

    errors, ended = 0, False
    while not ended:
        pieces: list[Any] = []
        with _quiet(form):
            while len(pieces) < BLOCK_READS and not ended:
                try:
                    piece = sound.read(READ_FRAMES, dtype="float32", always_2d=True)
                    errors, ended = 0, not len(piece)
                    pieces.append(piece)
                except damage:
                    errors += 1
                    ended = errors == MOST_ERRORS
        if pieces:
            # Codecs that lose something may exceed full scale: as integers, libsndfile lets them wrap around.
            block = (numpy.nan_to_num(numpy.concatenate(pieces)) * 32_768.0).round().clip(-32_768, 32_767)
            yield Raw(sound.samplerate, sound.channels, block.astype("<i2").tobytes())


def _announced(sound: Any, frames: int) -> float:
    """Return how many frames the file announced: 0 if it does not say."""
    for more, there in reversed(CORRECTED.findall(sound.extra_info)):
        if int(there) < int(more) < UNKNOWN_BYTES:
            return frames * int(more) / int(there)
    return float(sound.frames) if sound.frames < ENDLESS else 0.0


@contextlib.contextmanager
def _quiet(form: str) -> Iterator[None]:
    """Redirect stderr while MP3 is decoded: its decoder prints there, and has no option that soundfile can reach."""
    if form != "MP3":
        yield
        return
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


class Window:
    """A part of a file as a file, as soundfile asks for one.

    An `endless` one claims to go on for ever: libsndfile guesses the length of an MP3 that does not say it from its
    size and its first frames, and would stop there. Where the part really ends, reading ends too.
    """

    def __init__(self, file: BinaryIO, start: int, end: int, *, endless: bool = False) -> None:
        self._file = file
        self._start = start
        self._end = end
        self._claimed = ENDLESS if endless else end
        self._at = start
        self._furthest = start

    @property
    def unread(self) -> int:
        """How many bytes were not read on the way from the beginning to the end."""
        return self._end - self._furthest

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._at = offset + {SEEK_SET: self._start, SEEK_CUR: self._at, SEEK_END: self._claimed}[whence]
        return self.tell()

    def tell(self) -> int:
        return self._at - self._start

    def read(self, size: int) -> bytes:
        if self._at > self._end:  # a tag is looked for at the claimed end
            data = bytes(min(size, self._claimed - self._at))
        else:
            data = read_at(self._file, self._at, min(size, self._end - self._at))
            if self._at <= self._furthest:  # not a look at the end
                self._furthest = max(self._furthest, self._at + len(data))
        self._at += len(data)
        return data

    def write(self, data: bytes) -> int:  # soundfile looks for it, and never calls it
        raise OSError("read only")
