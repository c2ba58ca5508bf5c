"""The spool: each utterance as one file, on the disk while its owner still speaks.

Durable order: the first second of sound and its header are synced, then the directory; each further second is synced
as it comes; the end is synced with the last of the sound. Only then is the utterance called recorded. It is deleted
after its text is durable elsewhere (`publish/files.py`), never before. That deletion is not synced: a file that comes
back after a power cut is known by its text.

A sync that failed is never tried again on the same file, as the kernel may have dropped what it did not write: the
next `keep` writes a new one, which takes the place of the old when it is whole.

Writing and syncing is done on one thread of the spool's own; the loop never waits for the disk. How a file is written:
`file.py`; how it is laid out: `file_format.py`; what lies beside it, and how much: `folder.py`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import CannotCreateError, DataError, SpoolError
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.wav import wav_header
from flowpi.host.folders import write_and_delete
from flowpi.spool import file_format
from flowpi.spool.directory import KEPT
from flowpi.spool.errors import NO_FILE, hint_for, unusable
from flowpi.spool.file import SpoolFile, write_whole
from flowpi.spool.file_format import MAX_PIECE_BYTES, Ending, NewerVersion
from flowpi.spool.folder import Folder
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.quarantine import SUFFIX, quarantined_part

log = logging.getLogger(__name__)

LEAST_RECORD_BYTES = BYTES_PER_S // 10
"""What one read of the microphone brings; `sync_ms: 0` means each of these."""


PROBE = "probe.new"
"""Swept away at the next start, if a crash leaves it."""


class AudioNotKept(SpoolError):
    """The utterance is deleted, and its sound is not in `kept/`."""


class Spool:
    """`keep`, `remove` and `probe` are called on the loop, the rest on any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        sync_s: float = 1.0,
        max_bytes: int | None = None,
        keep_days: int | None = None,
        on_quarantine: Callable[[PartId, str], None] = lambda part, reason: None,
    ) -> None:
        """
        Args:
            max_bytes: of all that may lie in it.
            keep_days: how long what is delivered stays in `kept/` and `quarantine/`; None: for ever.
            on_quarantine: told of an utterance that could not be read, and why, on whatever thread found out; why is
                empty if nothing is lost, and only `quarantined` is another number: it could be read in part, and that
                is delivered; or such a one was deleted by age or to make room.
        """
        self.directory = directory
        self._folder = Folder(directory, max_bytes=max_bytes, keep_days=keep_days, on_quarantine=on_quarantine)
        self._sync_bytes = max(LEAST_RECORD_BYTES, round(sync_s * BYTES_PER_S))
        self._thread = ThreadPoolExecutor(1, "spool")
        self._damaged: set[PartId] = set()
        """What was loaded and is not readable to its end: such a file is put aside and not deleted."""

    def open(self) -> list[PartId]:
        """Take the directory for this process alone. After a SpoolError, to be called again now and then.

        Returns:
            The utterances in it, oldest first.

        Raises:
            AlreadyRunning: another daemon has it.
            SpoolError: it cannot be made or written to.
        """
        return self._thread.submit(self._folder.open).result()

    def close(self) -> None:
        """Give the directory back for good, after what is being written is written."""
        self._thread.shutdown()
        self._folder.close()

    async def keep(self, utterance: Utterance) -> None:
        """Follow an utterance to its end and keep it on the disk. `utterance.durable` is told how that went.

        Cancelling leaves what is on the disk; `remove` takes it away.

        Raises:
            SpoolError: the spool is not open or full, or the disk does not take it. The utterance lives on in memory.
        """
        loop = asyncio.get_running_loop()
        durable = utterance.durable = utterance.durable or loop.create_future()
        file = SpoolFile(self._folder, utterance.about)
        try:
            written, complete = 0, False
            while not complete:
                # No file before there is something to put in: at a press the connection needs these 2 ms.
                await utterance.wait(written + self._sync_bytes)
                pcm = utterance.read(written, written + max(self._sync_bytes, MAX_PIECE_BYTES))
                frame, written = written // FRAME_BYTES, written + len(pcm)
                complete = utterance.complete and written == utterance.length
                end = Ending(written // FRAME_BYTES, utterance.lost_frames, utterance.partial) if complete else None
                await loop.run_in_executor(self._thread, file.write, frame, pcm, end)
            durable.set_result(True)
        except OSError as error:
            raise SpoolError(
                f"the spool {str(self.directory)!r} does not take the audio ({error.strerror})", hint_for(error)
            ) from error
        finally:
            if not durable.done():
                durable.set_result(False)
            await asyncio.shield(loop.run_in_executor(self._thread, file.close))

    def load(self, part: PartId) -> Utterance | None:
        """Read an utterance back, whole or what can be read of it; None if it is not there.

        A file that cannot be read as an utterance is moved to `quarantine/` and None returned. One of a newer version
        stays where it is, and None is returned too.

        Raises:
            SpoolError: it cannot be read now, for a reason that is not its own.
        """
        name = f"{part}{SUFFIX}"
        try:
            utterance = _read(self._folder.open_file(part), part)
        except (FileNotFoundError, NewerVersion) as reason:
            if isinstance(reason, NewerVersion):
                log.warning("%s waits for a newer flowpi (%s)", name, reason)
            return None
        except OSError as error:
            if error.errno not in NO_FILE:
                raise SpoolError(
                    f"{str(self.directory / name)!r} cannot be read ({error.strerror})", hint_for(error)
                ) from error
            self._folder.quarantine(part, error.strerror or type(error).__name__)
            return None
        if utterance is None:
            self._folder.quarantine(part, "not an utterance")
            return None
        if utterance.damaged:
            if not utterance.length:
                self._folder.quarantine(part, "damaged, and no sound in it can be read")
                return None
            self._damaged.add(part)
        return utterance

    async def remove(self, part: PartId, *, keep_audio: bool = False, cancelled: bool = False) -> None:
        """Its text is safe, or its owner cancelled it. Harmless if it is gone.

        `keep_audio`: leave the sound as a WAV of the same name in `kept/`. `cancelled`: it must not come back after a
        power cut, as no text tells that it is done with.

        Raises:
            AudioNotKept: it is deleted, but its sound could not be kept.
            SpoolError: it cannot be deleted.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._remove, part, keep_audio, cancelled)

    def _remove(self, part: PartId, keep_audio: bool, cancelled: bool) -> None:
        path = self.directory / f"{part}{SUFFIX}"
        failure: AudioNotKept | None = None
        try:
            if keep_audio and (utterance := self.load(part)) is not None:
                try:
                    self._keep_audio(part, utterance)
                except OSError as error:  # the words are safe, and a full disk must not fill up with what is delivered
                    failure = AudioNotKept(f"the audio of {part} is not kept ({error.strerror})", hint_for(error))
                except SpoolError as error:
                    failure = AudioNotKept(error.message, error.hint)
            if part in self._damaged and not cancelled:
                self._damaged.discard(part)
                self._folder.quarantine(part, "damaged; what could be read of it is delivered", delivered=True)
            else:
                self._damaged.discard(part)
                self._folder.delete(part, sync=cancelled)
        except OSError as error:
            raise SpoolError(f"{str(path)!r} cannot be deleted ({error.strerror})", hint_for(error)) from error
        if failure is not None:
            raise failure

    def _keep_audio(self, part: PartId, utterance: Utterance) -> None:
        """Raises OSError, SpoolError."""
        self._folder.reserve(utterance.length)
        try:
            with self._folder.within(KEPT) as kept:
                write_whole(f"{part}.wav", kept, _wav(utterance))
        except OSError:
            self._folder.forget(utterance.length)
            raise

    async def probe(self) -> None:
        """Whether a second of sound could be kept now: it is written, synced and deleted.

        Raises:
            SpoolError: it could not.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._probe)

    def _probe(self) -> None:
        self._folder.check()
        self._folder.reserve(BYTES_PER_S)
        try:
            write_and_delete(PROBE, self._folder.handle, bytes(BYTES_PER_S))
        except OSError as error:
            raise unusable(self.directory, error) from error
        finally:
            self._folder.forget(BYTES_PER_S)

    def limit(self, max_bytes: int) -> None:
        """Another `max_bytes` from now on; nothing is deleted for it before something new is written."""
        self._folder.limit(max_bytes)

    def export(self, name: str, to: Path) -> Utterance:
        """Write a WAV of what can be read of an entry; it may still be growing, damaged, renamed or in quarantine.

        Returns:
            The utterance, which tells whether it is `partial` or `damaged`.

        Raises:
            DataError: there is no sound in it, or it is not there.
            SpoolError: it cannot be read.
            CannotCreateError: there is something at `to`, or it cannot be written.
        """
        see = "see `flowpi spool list`"
        try:
            if (part := PartId.parse(name)) is not None:
                utterance = _read(self._folder.open_file(part), part, any_id=True)
            else:
                part = quarantined_part(name)
                utterance = _read(self._folder.open_quarantined(name), part, any_id=True) if part is not None else None
        except FileNotFoundError:
            raise DataError(f"there is no {name!r} in the spool", see) from None
        except NewerVersion as error:
            raise DataError(f"{name!r} waits for a newer flowpi ({error})", "export it with that") from error
        except OSError as error:
            if error.errno in NO_FILE:
                raise DataError(f"{name!r} has no sound: it is no regular file", see) from error
            raise SpoolError(f"{name!r} cannot be read ({error.strerror})", hint_for(error)) from error
        if utterance is None or not utterance.length:
            raise DataError(f"{name!r} has no sound that can be read", see)
        try:
            with open(to, "xb") as wav:
                for piece in _wav(utterance):
                    wav.write(piece)
        except OSError as error:
            raise CannotCreateError(f"{str(to)!r} cannot be written ({error.strerror})", "name another file") from error
        return utterance

    @property
    def quarantined(self) -> int:
        """How many files are in quarantine."""
        return self._folder.quarantined

    def entries(self) -> list[SpoolEntry]:
        """All that is not delivered; also in a process that has not opened the spool. Raises SpoolError."""
        return self._folder.entries()

    def restore(self, name: str) -> PartId:
        """Bring an entry back from quarantine, to be tried again. Raises SpoolError, also if it is `delivered`."""
        return self._folder.restore(name)

    def discard(self, name: str) -> None:
        """Delete an entry that is in quarantine. Harmless if it is gone. Raises SpoolError."""
        self._folder.discard(name)

    def expire(self, unix_s: float, monotonic_s: float) -> None:
        """Delete what is delivered and in `kept/` or `quarantine/` for too long. For once an hour. Never raises."""
        self._folder.expire(unix_s, monotonic_s)


def _read(handle: int, part: PartId, *, any_id: bool = False) -> Utterance | None:
    """As `file_format.read`; closes the handle."""
    with open(handle, "rb", buffering=1 << 16) as file:
        return file_format.read(file, part, any_id=any_id)


def _wav(utterance: Utterance) -> Iterator[bytes]:
    """The file, in pieces."""
    length = utterance.length
    yield wav_header(length)
    for at in range(0, length, MAX_PIECE_BYTES):
        yield utterance.read(at, min(at + MAX_PIECE_BYTES, length))
