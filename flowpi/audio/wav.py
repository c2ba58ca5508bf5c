"""WAV files: read as a whole, or played as a microphone.

All PCM (8, 16, 24 or 32 bits, any rate, any number of channels) is converted to int16 mono 16 kHz. The chunks are
parsed here because the standard library's `wave`, before Python 3.12, refuses the "extensible" header that sox and
ffmpeg write for everything above 16 bits.
"""

import math
import shlex
import struct
from pathlib import Path

from flowpi.audio.source import Heard
from flowpi.core.errors import DataError, MicrophoneError, NoInputError
from flowpi.dsp.format import FRAME_BYTES, RATE_HZ
from flowpi.dsp.pcm import WIDTHS, Converter
from flowpi.dsp.wav import riff_chunks

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
RATES_HZ = range(4_000, 768_001)
BLOCK_FRAMES = 65_536
"""How much is converted at once: bounds the memory that a long file needs besides its result."""
FORGIVEN = 1e-6
"""The share of a period by which an edge may be missed: its time is no exact binary fraction."""


def read_wav(path: str | Path) -> bytes:
    """Return the audio of a WAV file as int16 mono 16 kHz, with several channels mixed.

    A file that announces more than it holds (a recording that was cut off, or written to a pipe) yields what it holds.

    Raises:
        NoInputError: the file does not exist or cannot be read.
        DataError: the file is not a WAV, is not PCM, or has no audio.
    """
    try:
        if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):  # a FIFO has no end
            raise DataError(f"{str(path)!r} is no regular file", "give the path of a WAV file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise NoInputError(f"cannot read {str(path)!r} ({error.strerror})", "give the path of a WAV file") from error
    rate_hz, channels, width, payload = _parse(data, Path(path))
    converter = Converter(rate_hz, channels, width)
    block = BLOCK_FRAMES * channels * width
    pcm = [converter.feed(bytes(payload[at : at + block])) for at in range(0, len(payload), block)]
    return b"".join([*pcm, converter.flush()])


def _parse(data: bytes, path: Path) -> tuple[int, int, int, memoryview]:
    """Return the rate, the number of channels, the bytes a sample, and the audio in whole frames."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _unusable(path, "is not a WAV file")
    shape: tuple[int, int, int] | None = None
    for name, chunk in riff_chunks(data):
        if name == b"fmt " and len(chunk) >= 16:
            form, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
            if form == EXTENSIBLE and len(chunk) >= 26:
                (form,) = struct.unpack_from("<H", chunk, 24)  # its GUID begins with the format code
            if form == FLOAT:
                raise _unusable(path, "holds floating point audio, not PCM")
            if form != PCM or bits % 8 or bits // 8 not in WIDTHS or not channels or rate_hz not in RATES_HZ:
                kind = f"format {form}, {bits} bits, {channels} channels, {rate_hz} Hz"
                raise _unusable(path, f"holds audio that is not usual PCM ({kind})")
            shape = rate_hz, channels, bits // 8
        elif name == b"data" and shape is not None:
            rate_hz, channels, width = shape
            whole = len(chunk) - len(chunk) % (channels * width)
            if not whole:
                raise DataError(f"{str(path)!r} has no audio in it", "record it again")
            return rate_hz, channels, width, chunk[:whole]
    raise _unusable(path, "is cut off before its audio")


def _unusable(path: Path, problem: str) -> DataError:
    command = ["ffmpeg", "-i", str(path), "-ar", "16000", "-ac", "1", "-c:a", "pcm_s16le", f"{path.stem}-16k.wav"]
    return DataError(f"{str(path)!r} {problem}", f"convert it: {shlex.join(command)}")


class WavSource:
    """A WAV file as a microphone: it plays once, in real time from `open()` on, followed by silence for ever.

    It never gives a gap, however late it is read.
    """

    has_noise = False
    trial = None
    buffer_s = math.inf

    def __init__(self, path: str | Path, period_ms: int = 20) -> None:
        self.name = str(path)
        self.period_s = period_ms / 1000
        self.held_s = 0.0
        self._period_bytes = RATE_HZ * period_ms // 1000 * FRAME_BYTES
        self._speech: memoryview | None = None  # None: closed
        self._began = 0.0
        self._periods = 0

    def open(self, now: float) -> None:
        try:
            self._speech = memoryview(read_wav(self.name))
        except (DataError, NoInputError) as error:
            raise MicrophoneError(self.name, error.message, error.hint) from error
        self._began = now
        self._periods = 0

    def read(self, now: float) -> list[Heard]:
        if self._speech is None:
            raise MicrophoneError(self.name, "it is not open")
        done, self._periods = self._periods, max(self._periods, self._complete(now))
        if self._periods == done:
            return []
        size = (self._periods - done) * self._period_bytes
        heard = bytes(self._speech[done * self._period_bytes :][:size])
        return [heard.ljust(size, b"\0")]

    def due(self, after: float) -> float:
        periods = max(self._periods + 1, math.ceil((after - self._began) / self.period_s - FORGIVEN))
        return max(after, self._began + periods * self.period_s)

    def close(self) -> None:
        self._speech = None

    def _complete(self, now: float) -> int:
        return int((now - self._began) / self.period_s + FORGIVEN)
