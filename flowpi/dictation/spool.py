"""The spool: each utterance as one file, on the disk while its owner still speaks.

File `<ULID>.utt`, of later parts `<ULID>.<part>.utt`, version 1: a line `flowpi utterance 1`, then records. A record is

    kind (1 byte), length (uint32), CRC-32 of kind and payload (uint32), payload; little-endian
    H  JSON of `About`, once, first
    A  PCM, int16 little-endian mono 16 kHz, about a second each
    E  JSON `{"frames": n, "lost_frames": n}`, once, last: the utterance is complete

Whatever a crash leaves is read up to the first record that is not whole. Durable order: the file and its directory
are synced when it is created, just before its first audio, the audio once in `sync_s`, and after the E record; only
then is the utterance called recorded. It is deleted after its text is durable elsewhere (`publish/files.py`), never
before.

Writing and syncing is done on one thread of the spool's own; the loop never waits for the disk.
"""

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import stat
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from flowpi.core.errors import AlreadyRunning, CannotCreateError, SpoolError
from flowpi.core.ulid import is_ulid
from flowpi.dictation.utterance import About, PartId, Utterance
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.wav import wav_header

log = logging.getLogger(__name__)

MAGIC = b"flowpi utterance 1\n"
RECORD = struct.Struct("<cII")
MAX_RECORD_BYTES = 1 << 24
"""More than 330 s of audio; a length above is damage."""

LEAST_RECORD_BYTES = BYTES_PER_S // 10
"""What one read of the microphone brings; `sync_ms: 0` means each of these."""

PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EACCES, errno.EPERM})
"""Errors that say nothing about the file: it stays where it is."""

SUFFIX = ".utt"
QUARANTINE = "quarantine"
KEPT = "kept"


class Ending(msgspec.Struct):
    frames: int
    lost_frames: int = 0


class Spool:
    """All methods but `load` are called on the loop."""

    def __init__(self, directory: Path, *, sync_s: float = 1.0) -> None:
        self.directory = directory
        self._sync_bytes = max(LEAST_RECORD_BYTES, round(sync_s * BYTES_PER_S))
        self._thread = ThreadPoolExecutor(1, "spool")
        self._lock: int | None = None
        self._damaged: set[PartId] = set()
        """What was loaded and is not readable to its end: such a file is put aside and not deleted."""

    def open(self) -> list[PartId]:
        """Take the directory for this process alone.

        Returns:
            The utterances in it, oldest first.

        Raises:
            AlreadyRunning: another daemon has it.
            CannotCreateError: it cannot be made or written to.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = [PartId.parse(path.stem) for path in self.directory.iterdir() if path.suffix == SUFFIX]
            return sorted(part for part in found if part is not None)
        except BlockingIOError:
            self.close()
            raise AlreadyRunning(
                f"another flowpi has the spool {str(self.directory)!r}", "stop it, or set spool.directory"
            ) from None
        except OSError as error:
            self.close()
            raise CannotCreateError(
                f"the spool {str(self.directory)!r} cannot be used ({error.strerror})", "set spool.directory"
            ) from error

    def close(self) -> None:
        """Give the directory back, after what is being written is written."""
        self._thread.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def keep(self, utterance: Utterance) -> None:
        """Follow an utterance to its end and keep it on the disk. `utterance.durable` is told how that went.

        Cancelling leaves what is on the disk; `remove` takes it away.

        Raises:
            SpoolError: the disk does not take it. The utterance lives on in memory.
        """
        loop = asyncio.get_running_loop()
        durable = utterance.durable = utterance.durable or loop.create_future()
        file = _File(self._path(utterance.part_id))
        try:
            # No file before there is something to put in: at a press the connection needs these 2 ms.
            await utterance.wait(self._sync_bytes)
            await loop.run_in_executor(self._thread, file.create, utterance.about)
            written = 0
            while not utterance.complete or written < utterance.length:
                await utterance.wait(written + self._sync_bytes)
                pcm = utterance.read(written, written + self._sync_bytes)
                if pcm:
                    await loop.run_in_executor(self._thread, file.write, pcm)
                    written += len(pcm)
            ending = Ending(written // FRAME_BYTES, utterance.lost_frames)
            await loop.run_in_executor(self._thread, file.end, ending)
            durable.set_result(True)
        except OSError as error:
            raise SpoolError(
                f"the spool {str(self.directory)!r} does not take the audio ({error.strerror})", _mend(error)
            ) from error
        finally:
            if not durable.done():
                durable.set_result(False)
            await asyncio.shield(loop.run_in_executor(self._thread, file.close))

    def load(self, part: PartId) -> Utterance | None:
        """Read an utterance back, whole or up to where it was cut; None if it is not there. Any thread.

        A file that cannot be read as an utterance is moved to `quarantine/` and None returned.

        Raises:
            SpoolError: it cannot be read now, for a reason that is not its own.
        """
        path = self._path(part)
        try:
            data = _read_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in PASSING:
                raise SpoolError(f"{str(path)!r} cannot be read ({error.strerror})", _mend(error)) from error
            self._quarantine(path, error.strerror or type(error).__name__)
            return None
        utterance = parse(data)
        if utterance is None or utterance.part_id != part:
            self._quarantine(path, "not an utterance of this version")
            return None
        if utterance.damaged:
            self._damaged.add(part)
            if not utterance.length:
                self._quarantine(path, "damaged from its first sound on")
                return None
        return utterance

    async def remove(self, part: PartId, *, keep_audio: bool = False) -> None:
        """Its text is safe, or its owner cancelled it. Harmless if it is gone.

        `keep_audio`: leave the sound as a WAV of the same name in `kept/`.

        Raises:
            SpoolError: it cannot be deleted.
        """
        path = self._path(part)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._remove, part, path, keep_audio)
        except OSError as error:
            raise SpoolError(f"{str(path)!r} cannot be deleted ({error.strerror})", _mend(error)) from error

    def _remove(self, part: PartId, path: Path, keep_audio: bool) -> None:
        if keep_audio and (utterance := self.load(part)) is not None:
            kept = self.directory / KEPT
            kept.mkdir(mode=0o700, exist_ok=True)
            pcm = utterance.read(0, utterance.length)
            (kept / f"{part}.wav").write_bytes(wav_header(len(pcm)) + pcm)
        if part in self._damaged:
            self._quarantine(path, "damaged; what could be read of it is delivered")
            return
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            _sync_directory(self.directory)

    def _path(self, part: PartId) -> Path:
        return self.directory / f"{part}{SUFFIX}"

    def _quarantine(self, path: Path, reason: str) -> None:
        log.warning("%s is unreadable (%s) and goes to %s/", path.name, reason, QUARANTINE)
        try:
            (self.directory / QUARANTINE).mkdir(mode=0o700, exist_ok=True)
            path.rename(self.directory / QUARANTINE / path.name)
        except OSError as error:
            log.warning("%s stays where it is (%s)", path.name, error.strerror)


def parse(data: bytes) -> Utterance | None:
    """The utterance in a spool file, up to its first record that is not whole; None if that is the header.

    `partial` if it has no end, as a crash leaves it; `damaged` if there is more behind what cannot be read.
    """
    if not data.startswith(MAGIC):
        return None
    about: About | None = None
    ending: Ending | None = None
    pcm = bytearray()
    at = len(MAGIC)
    while at + RECORD.size <= len(data) and ending is None:
        kind, length, checksum = RECORD.unpack_from(data, at)
        at += RECORD.size
        payload = memoryview(data)[at : at + length]
        at += length
        if length > MAX_RECORD_BYTES or len(payload) < length or zlib.crc32(payload, zlib.crc32(kind)) != checksum:
            break
        try:
            if kind == b"H" and about is None:
                about = _about(payload)
            elif kind == b"A" and about is not None:
                pcm += payload
            elif kind == b"E" and about is not None:
                ending = msgspec.json.decode(payload, type=Ending)
            else:
                break
        except (msgspec.MsgspecError, RecursionError):
            break
    if about is None or not is_ulid(about.id):
        return None
    whole = ending is not None and ending.frames * FRAME_BYTES == len(pcm)
    utterance = Utterance(about, pcm=bytes(pcm), complete=True, partial=not whole)
    utterance.lost_frames = ending.lost_frames if ending else 0
    utterance.damaged = ending is None and at + RECORD.size <= len(data)
    return utterance


def _about(payload: memoryview) -> About:
    """Raises msgspec.MsgspecError. The context is left out where another version wrote it: the words matter more."""
    try:
        return msgspec.json.decode(payload, type=About)
    except msgspec.ValidationError as error:
        log.debug("without its context: %s", error)
        return msgspec.convert({**msgspec.json.decode(payload, type=dict), "context": {}}, About)


def _read_file(path: Path) -> bytes:
    """Raises OSError; also for what is no regular file: a FIFO has no end, and a link may lead anywhere."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)


class _File:
    """One utterance on its way to the disk; every method on the spool's thread. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def create(self, about: About) -> None:
        self._path.unlink(missing_ok=True)  # of an earlier try, half written: what failed to sync is not trusted
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)
        self._write(MAGIC + _record(b"H", msgspec.json.encode(about)))
        _sync_directory(self._path.parent)

    def write(self, pcm: bytes) -> None:
        self._write(_record(b"A", pcm))

    def end(self, ending: Ending) -> None:
        self._write(_record(b"E", msgspec.json.encode(ending)))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]
        os.fdatasync(self._file)  # it also makes a grown length durable


def _record(kind: bytes, payload: bytes) -> bytes:
    return RECORD.pack(kind, len(payload), zlib.crc32(payload, zlib.crc32(kind))) + payload


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _mend(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some space on its disk"
        case errno.EROFS | errno.EACCES | errno.EPERM:
            return "make it writable for the daemon's user"
        case _:
            return "check the disk, and see the journal"
