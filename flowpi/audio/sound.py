"""Sound files of any form, read in blocks of int16 mono 16 kHz.

`open_sound` recognises the form by the first bytes. The RIFF family is read here, from where `riff.py` finds audio; all
else is read by libsndfile (`sndfile.py`). Memory does not grow with the length of a file. `Sound.warnings` reports what
a file announces but does not contain, and what it contains but could not be read.
"""

import contextlib
import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from flowpi.audio.forms import HEAD_BYTES, STDIN_NAME, form_of, unusable
from flowpi.audio.riff import RATES_HZ, Run, find_runs
from flowpi.audio.scan import read_at
from flowpi.audio.tally import Raw, Tally, Unreadable
from flowpi.core.errors import CannotCreateError, DataError, NoInputError, NoPermissionError
from flowpi.dsp.coding import Coding, decode, fills_four_bytes
from flowpi.dsp.pcm import Converter

BLOCK_FRAMES = 65_536
"""How much is converted at once: bounds the memory that a long file needs."""

HEADER_BYTES = 4096
"""No header is longer; a file that is has something in it."""

MISSING_S = 0.05
"""Less than this at the end of a file is the rounding of its codec."""

LARGE_FILES = "/var/tmp"
"""Where a pipe is kept while it is read: /tmp may be memory. $TMPDIR goes first."""

COPY_BYTES = 1 << 20

STDIN = ("-", "/dev/stdin", "/proc/self/fd/0", "/dev/fd/0")


class Sound:
    """An open sound file. Iterate over its blocks once, then ask for its warnings.

    Attributes:
        name: what the user called it.
    """

    def __init__(self, file: BinaryIO, size: int, name: str, form: str) -> None:
        self.name = name
        self._file = file
        self._size = size
        self._form = form
        self._tally = Tally()

    @property
    def read_s(self) -> float:
        """How much sound was read, in seconds."""
        return self._tally.read_s

    @property
    def expected_s(self) -> float:
        """How long the sound is, in seconds, as far as the file has said it so far; 0 if it has not."""
        return self._tally.expected_s

    def blocks(self) -> Iterator[bytes]:
        """Yield the sound as int16 mono 16 kHz, some seconds at a time; several channels are mixed.

        Raises:
            DataError: its form cannot be read, or there is no sound in it.
            UnavailableError: the library that reads it is not installed.
        """
        converter, shape = None, (0, 0)
        try:
            for raw in self._raw():
                if converter is None or shape != (raw.rate_hz, raw.channels):
                    if converter is not None:
                        yield converter.flush()
                    shape = raw.rate_hz, raw.channels
                    converter = Converter(raw.rate_hz, raw.channels, channel="audible")
                self._tally.read_s += raw.frames / raw.rate_hz
                yield converter.feed(raw.pcm)
        except Unreadable as error:
            raise unusable(self.name, f"holds {self._form} sound that cannot be read ({error})") from None
        if converter is None or not self._tally.read_s:
            self._refuse_without_sound()
        yield converter.flush()

    def warnings(self) -> list[str]:
        """Return what is missing from the file, or could not be read, as sentences. Call it after the last block."""
        tally, found = self._tally, []
        if tally.announced_s - tally.read_s > MISSING_S:
            found.append(
                f"{self.name!r} has {tally.read_s:.1f} of the {tally.announced_s:.1f} s that it announces: "
                "the rest is cut off or damaged"
            )
        return found + [f"{self.name!r}: {remark}" for remark in tally.remarks]

    def _raw(self) -> Iterator[Raw]:
        if self._form == "WAV":
            runs = list(find_runs(self._file, self._size))
            if all(run.shape.coding for run in runs):
                self._tally.expected_s = sum(run.size / run.shape.frame_bytes / run.shape.rate_hz for run in runs)
                for run in runs:
                    yield from self._decoded(run)
                return
            if runs[0].shape.rate_hz not in RATES_HZ:
                raise Unreadable(runs[0].shape.problem)
        from flowpi.audio import sndfile

        try:
            yield from sndfile.read_blocks(self._file, self._size, self._form, self._tally)
        except Unreadable as error:
            raise Unreadable(runs[0].shape.problem if self._form == "WAV" else str(error)) from None

    def _decoded(self, run: Run) -> Iterator[Raw]:
        """Yield the sound of one run, and count what it announced."""
        shape = run.shape
        assert shape.coding is not None
        frame, coding = shape.frame_bytes, self._coding(run, shape.coding)
        announced = run.size if run.announced is None else max(run.announced, run.size)
        self._tally.announced_s += announced / frame / shape.rate_hz
        end = run.offset + run.size - run.size % frame
        for at in range(run.offset, end, BLOCK_FRAMES * frame):
            samples = read_at(self._file, at, min(BLOCK_FRAMES * frame, end - at))
            samples = samples[: len(samples) - len(samples) % frame]  # the file may be cut while it is read
            yield Raw(shape.rate_hz, shape.channels, decode(samples, coding))

    def _coding(self, run: Run, coding: Coding) -> Coding:
        """Return the coding; for 24 bits in four bytes, decide from the samples which three of them count."""
        if coding.form != "pcm" or coding.width != 4 or run.shape.bits > 24:
            return coding
        step = BLOCK_FRAMES * run.shape.frame_bytes
        for at in range(run.offset, run.offset + run.size, step):
            samples = read_at(self._file, at, min(step, run.offset + run.size - at))
            if fills_four_bytes(samples[: len(samples) // 4 * 4], coding.big_endian):
                return coding
        return Coding("pcm_low", coding.width, coding.big_endian)

    def _refuse_without_sound(self) -> NoReturn:
        """Raise for a file that was read and gave no sound."""
        if self._size > HEADER_BYTES:  # it may be the only copy of something
            raise unusable(self.name, f"announces no audio, but has {self._size} bytes")
        if self._form == "WAV" and b"data" not in read_at(self._file, 12, HEADER_BYTES):
            raise DataError(f"{self.name!r} is cut off before its audio", "copy it again, or record it again")
        raise DataError(f"{self.name!r} has no audio in it", "record it again")


@contextlib.contextmanager
def open_sound(path: str | Path, *, pipes: bool = False) -> Iterator[Sound]:
    """Open a sound file for the length of a block.

    Args:
        path: the file.
        pipes: whether a FIFO, and "-" for the standard input, are allowed. A pipe is first copied to the disk, to its
            end, which may block for any time.

    Raises:
        NoInputError: there is no such file.
        NoPermissionError: this user may not read it.
        CannotCreateError: there is no room for what comes through a pipe.
        DataError: it is empty, or no sound file, or of a form that cannot be read.
    """
    name = STDIN_NAME if pipes and str(path) in STDIN else str(path)
    with _opened(path, name, pipes) as file:
        head = read_at(file, 0, HEAD_BYTES)
        form = form_of(head, name)
        yield Sound(file, os.fstat(file.fileno()).st_size, name, form)


def read_sound(path: str | Path) -> tuple[bytes, list[str]]:
    """Return all sound of a file as int16 mono 16 kHz, and its warnings.

    Raises:
        FlowpiError: those of `open_sound` and `Sound.blocks`.
    """
    with open_sound(path) as sound:
        return b"".join(sound.blocks()), sound.warnings()


@contextlib.contextmanager
def _opened(path: str | Path, name: str, pipes: bool) -> Iterator[BinaryIO]:
    """Open a file to seek in."""
    try:
        if name == STDIN_NAME:
            file: BinaryIO = open(os.dup(0), "rb")  # noqa: SIM115 (closed below)
        else:
            mode = os.stat(path).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (pipes and stat.S_ISFIFO(mode))):
                raise DataError(f"{name!r} is no regular file", "give the path of a sound file")
            file = open(path, "rb")  # noqa: SIM115 (closed below)
    except PermissionError as error:
        hint = "run the command as a user who may read it, or let all read it: chmod a+r"
        raise NoPermissionError(f"cannot read {name!r} ({error.strerror})", f"{hint} {shlex.quote(name)}") from error
    except OSError as error:
        raise NoInputError(f"cannot read {name!r} ({error.strerror})", "give the path of a sound file") from error
    with file:
        mode = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(mode):
            yield file
        elif pipes and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            with _kept(file, name) as kept:
                yield kept
        else:
            raise DataError(f"{name!r} is neither a file nor a pipe", "give the path of a sound file")


@contextlib.contextmanager
def _kept(pipe: BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Copy a pipe to a temporary file, which is deleted at the end of the block: most forms need seeking."""
    head = pipe.read(HEAD_BYTES)
    form_of(head, name)  # before an endless stream of something else fills the disk
    place = os.environ.get("TMPDIR") or (LARGE_FILES if os.access(LARGE_FILES, os.W_OK) else None)
    with tempfile.TemporaryFile(dir=place) as file:
        try:
            file.write(head)
            shutil.copyfileobj(pipe, file, COPY_BYTES)
            file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # it would be flushed again, and hide this error behind another
                file.close()
            hint = "make room, or set TMPDIR to a folder with room"
            raise CannotCreateError(f"cannot keep what {name!r} gives ({error.strerror})", hint) from error
        yield file
