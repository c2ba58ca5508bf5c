"""The spool: each utterance as one file, written to the disk while the user is still speaking.

Durable order: the first second of sound and its header are synced, then the directory; each further second is synced
as it comes; the end is synced with the last of the sound. Only then is the utterance reported as recorded. It is
deleted after its text is durable elsewhere (`publish/files.py`), never before. That deletion is not synced: if a power
cut brings the file back, its id is found in the transcripts at the next start, and it is deleted again.

A sync that failed is never repeated on the same file, because the kernel may have dropped what it did not write: the
next `keep` writes a new file, which replaces the old one when it is whole.

Writing and syncing is done on a thread of the spool's own; the loop never waits for the disk. How a file is written:
`file.py`; how it is laid out: `file_format.py`; what else lies in the directory: `folder.py`; its lock: `directory.py`.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

from flowpi.audio.utterance import PartId, Utterance
from flowpi.core.errors import CannotCreateError, DataError, SpoolError
from flowpi.dsp.format import BYTES_PER_S, FRAME_BYTES
from flowpi.dsp.wav import wav_header
from flowpi.host.folders import write_and_delete
from flowpi.spool import file_format
from flowpi.spool.directory import KEPT
from flowpi.spool.errors import NO_FILE, hint_for, unusable
from flowpi.spool.file import MAKE, SpoolFile, write_whole
from flowpi.spool.file_format import MAX_PIECE_BYTES, Ending, NewerVersion
from flowpi.spool.folder import Folder
from flowpi.spool.listing import SpoolEntry
from flowpi.spool.quarantine import SUFFIX, quarantined_part

log = logging.getLogger(__name__)

LEAST_RECORD_BYTES = BYTES_PER_S // 10
"""The size of one read of the microphone; with `sync_ms: 0` each of them is written and synced."""

PROBE = "probe.new"
"""The name of the file that `probe` writes. If a crash leaves it, the next start deletes it."""


class AudioNotKept(SpoolError):
    """The utterance is deleted as it should be, but its sound could not be written to `kept/`."""


class Spool:
    """The store of recorded utterances. `keep`, `remove` and `probe` are called on the loop, the rest on any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        sync_s: float = 1.0,
        max_bytes: int | None = None,
        keep_days: int | None = None,
        on_quarantine: Callable[[PartId, str], None] = lambda part, reason: None,
        executor: Executor | None = None,
    ) -> None:
        """
        Args:
            directory: where it lies; made by `open` if it is missing.
            sync_s: how much sound to collect before it is written and synced.
            max_bytes: the largest size of all that lies in the directory; None for no limit.
            keep_days: how long delivered sound stays in `kept/` and `quarantine/`; None for ever.
            on_quarantine: called with a part and a reason when a file moves to or leaves the quarantine, on whichever
                thread noticed it. The reason is empty if nothing is lost and only the number `quarantined` changed: a
                part that could be read in part and is delivered was put there, or deleted by age or to make room.
            executor: does everything in order, instead of a thread of the spool's own; `close` shuts it down.
        """
        self.directory = directory
        self._folder = Folder(directory, max_bytes=max_bytes, keep_days=keep_days, on_quarantine=on_quarantine)
        self._sync_bytes = max(LEAST_RECORD_BYTES, round(sync_s * BYTES_PER_S))
        self._thread = executor or ThreadPoolExecutor(1, "spool")
        self._damaged: set[PartId] = set()
        """The parts that could not be read to their end: `remove` moves their files to quarantine and deletes none."""

    def open(self) -> list[PartId]:
        """Lock the directory for this process. After a SpoolError, call it again from time to time.

        Returns:
            The utterances in it, oldest first.

        Raises:
            AlreadyRunning: another daemon uses it.
            SpoolError: it cannot be made or written to.
        """
        return self._thread.submit(self._folder.open).result()

    def close(self) -> None:
        """Finish what is being written and release the directory for good. Blocks until then."""
        self._thread.shutdown()
        self._folder.close()

    async def keep(self, utterance: Utterance) -> None:
        """Write an utterance to the disk as it grows, and return when its end is synced.

        `utterance.durable` is set to whether it was. Cancelling leaves what is on the disk until `remove`.

        Raises:
            SpoolError: the spool is not open or full, or the disk fails. The utterance is still whole in memory, and
                `keep` may be called again: it begins a new file.
        """
        loop = asyncio.get_running_loop()
        durable = utterance.durable = utterance.durable or loop.create_future()
        file = SpoolFile(self._folder, utterance)
        try:
            written, complete = 0, False
            writing: Future[None] | None = None
            while not complete:
                # The file is created only when there is sound for it: right after a press, the 2 ms that this costs
                # would delay the connection to the backend.
                await _wait(utterance, written + self._sync_bytes, writing)
                await asyncio.sleep(0)  # the connection first: the thread and the loop would dispute the interpreter
                # Asked only now, when there is more to write: a write that succeeds need not wake the loop.
                await _ended(writing)
                pcm = utterance.read(written, written + max(self._sync_bytes, MAX_PIECE_BYTES))
                frame, written = written // FRAME_BYTES, written + len(pcm)
                complete = utterance.complete and written == utterance.length
                end = Ending(written // FRAME_BYTES, utterance.lost_frames, utterance.partial) if complete else None
                writing = self._thread.submit(file.write, frame, pcm, end)
            await _ended(writing)
            # Only here: the end is synced, and the name of the file with it. `record stop` answers "recorded" by this.
            durable.set_result(True)
        except OSError as error:
            raise SpoolError(
                f"the spool {str(self.directory)!r} does not take the audio ({error.strerror})", hint_for(error)
            ) from error
        finally:
            if not durable.done():
                durable.set_result(False)
            # Cancelling ends the wait for a write, not the write. This close is queued behind it on the same thread,
            # and whatever `remove` does is queued behind this. Shielded, so that a second cancel leaves no file open.
            await asyncio.shield(loop.run_in_executor(self._thread, file.close))

    def load(self, part: PartId) -> Utterance | None:
        """Read an utterance, whole or as much of it as can be read.

        Returns:
            The utterance; None if there is no such file, if a newer version wrote it (it stays where it is), or if no
            utterance can be read from it (it is moved to quarantine).

        Raises:
            SpoolError: it cannot be read now, for a reason that lies in the disk and not in the file.
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
                    f"{str(self.directory / name)!r} cannot be read ({error.strerror})", hint_for(error, reading=True)
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
        """Delete an utterance whose text is durable elsewhere, or which the user cancelled. Harmless if it is gone.

        Cancelling ends the wait and not the deletion.

        Args:
            keep_audio: leave the sound as a WAV of the same name in `kept/`.
            cancelled: sync the deletion. A cancelled utterance has no text in the transcripts by which the next start
                could recognise that it is done with, so a power cut must not bring it back.

        Raises:
            AudioNotKept: it is deleted, but its sound could not be kept.
            SpoolError: it cannot be deleted.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._remove, part, keep_audio, cancelled)

    def _remove(self, part: PartId, keep_audio: bool, cancelled: bool) -> None:
        """Do what `remove` promises, on the spool's thread."""
        path = self.directory / f"{part}{SUFFIX}"
        failure: AudioNotKept | None = None
        try:
            # The copy in `kept/` is whole and synced before the original is deleted. A crash between the two leaves
            # both, and the next start deletes the original by its id in the transcripts.
            if keep_audio and (utterance := self.load(part)) is not None:
                try:
                    self._keep_audio(part, utterance)
                except OSError as error:  # deleted all the same: the text is safe, and a full disk must not stay full
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
        """Write the sound to `kept/`. Raises OSError, and SpoolError if the spool is full."""
        self._folder.reserve(utterance.length)
        try:
            with self._folder.within(KEPT) as kept:
                write_whole(f"{part}.wav", kept, _wav(utterance))
        except OSError:
            self._folder.forget(utterance.length)
            raise

    async def probe(self) -> None:
        """Check that a second of sound could be kept now, by writing, syncing and deleting one.

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
        """Set the largest size of the spool. Nothing is deleted for it until something new is written."""
        self._folder.limit(max_bytes)

    def export(self, name: str, to: Path, owner: tuple[int, int] | None = None) -> Utterance:
        """Write what can be read of an entry as a WAV. The entry may be growing, damaged, renamed or in quarantine.

        Args:
            to: the file to make. Only its owner can read it, as in the spool.
            owner: the numbers of its user and group, if they are not those of this process.

        Returns:
            The utterance, with `partial` and `damaged` set as they apply.

        Raises:
            DataError: there is no sound in it, or no such entry.
            SpoolError: it cannot be read.
            CannotCreateError: `to` exists, or cannot be written.
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
            raise SpoolError(f"{name!r} cannot be read ({error.strerror})", hint_for(error, reading=True)) from error
        if utterance is None or not utterance.length:
            raise DataError(f"{name!r} has no sound that can be read", see)
        try:
            with open(os.open(to, MAKE, 0o600), "wb") as wav:
                if owner is not None:
                    os.fchown(wav.fileno(), *owner)
                for piece in _wav(utterance):
                    wav.write(piece)
        except OSError as error:
            raise CannotCreateError(f"{str(to)!r} cannot be written ({error.strerror})", "name another file") from error
        return utterance

    @property
    def quarantined(self) -> int:
        """The number of files in quarantine."""
        return self._folder.quarantined

    def entries(self) -> list[SpoolEntry]:
        """Return all that is not delivered, also in a process that has not opened the spool. Raises SpoolError."""
        return self._folder.entries()

    def restore(self, name: str) -> PartId:
        """Move an entry back from quarantine to be tried again. Raises SpoolError, also if it is `delivered`."""
        return self._folder.restore(name)

    def discard(self, name: str) -> None:
        """Delete an entry from quarantine. Harmless if it is gone. Raises SpoolError."""
        self._folder.discard(name)

    def expire(self, unix_s: float, monotonic_s: float) -> None:
        """Delete delivered sound that is older than `keep_days`. Meant to be called once an hour. Never raises."""
        self._folder.expire(unix_s, monotonic_s)


async def _wait(utterance: Utterance, length: int, writing: "Future[None] | None") -> None:
    """Wait until an utterance is that long, or `writing` has failed."""
    if writing is None:
        return await utterance.wait(length)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:

            def stop() -> None:
                with contextlib.suppress(RuntimeError):  # the wait is over
                    limit.reschedule(loop.time())

            def tell(done: "Future[None]") -> None:
                if not done.cancelled() and done.exception() is not None:
                    with contextlib.suppress(RuntimeError):  # the loop is closed
                        loop.call_soon_threadsafe(stop)

            writing.add_done_callback(tell)
            await utterance.wait(length)
    except TimeoutError:
        pass


async def _ended(writing: "Future[None] | None") -> None:
    """Wait for a write, and raise what it raised."""
    if writing is not None:
        await asyncio.wrap_future(writing) if not writing.done() else writing.result()


def _read(handle: int, part: PartId, *, any_id: bool = False) -> Utterance | None:
    """Return what `file_format.read` returns for an open file, and close it."""
    with open(handle, "rb", buffering=1 << 16) as file:
        return file_format.read(file, part, any_id=any_id)


def _wav(utterance: Utterance) -> Iterator[bytes]:
    """Yield the bytes of a WAV file of the utterance, in pieces."""
    length = utterance.length
    yield wav_header(length)
    for at in range(0, length, MAX_PIECE_BYTES):
        yield utterance.read(at, min(at + MAX_PIECE_BYTES, length))
