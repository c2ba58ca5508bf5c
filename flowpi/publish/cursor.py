"""The position of a durable sink in the transcripts: which texts it has, and which one comes next.

The position is the (id, part) of the last text that the sink has, for each day file (see `log_reader.py`). A sink
without a position begins at the end of the transcripts.

The position is on the disk before the next text is read. If the process is killed between a write and that sync, the
sink receives this one text again; the other order would lose it.

If the destination keeps the position too, it shows what it has forgotten, and the position goes back (`trail.py`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from flowpi.core.errors import SinkError
from flowpi.core.faults import UNDELIVERED_FAMILY
from flowpi.host.disk_hints import disk_hint
from flowpi.host.durable_file import DurableFile
from flowpi.host.logfields import MessageId, fields
from flowpi.publish.files import Transcripts
from flowpi.publish.lag import Lag
from flowpi.publish.lines import finals_in, opened
from flowpi.publish.log_reader import LogReader, Piece, last_in
from flowpi.publish.messages import Final, TextId
from flowpi.publish.parked import Parked, ParkedTexts
from flowpi.publish.trail import Marks, Trail, earlier, marks_in

log = logging.getLogger(__name__)

Done = TypeVar("Done")


class Behind(NamedTuple):
    """How many texts wait for a sink, and when the first of them was begun; None if there is none."""

    waiting: int
    oldest_at: str | None


class Cursor:
    """Reads the transcripts for one sink. `next` returns the same text until `passed` or `park` is called.

    What touches the disk runs between two lines of the transcripts.

    Attributes:
        parked: the texts that the sink refused for good, and how many expired before it had them.
        last: the text that the sink received last, as far as that is known.
        position: what the destination is to keep, from `trace` on.
    """

    def __init__(
        self,
        path: Path,
        transcripts: Transcripts,
        on_change: Callable[[], object] = lambda: None,
        *,
        passed_over: frozenset[str] = frozenset(),
    ) -> None:
        """Read `transcripts` from the position in the file `path` on; the file is made if it is missing.

        Args:
            on_change: called on the loop when there is another text, or when texts have expired.
            passed_over: the profiles whose texts are not for the sink: its position passes them, and none is missed.
        """
        self.parked = ParkedTexts(path.with_suffix(".parked"))
        self.last: TextId | None = None
        self.position = b""
        self._passed_over = passed_over
        self._trail = Trail(path.with_suffix(".trail"))
        self._path = path
        self._file = DurableFile(path, Marks, "the sink goes on with the texts from now on")
        self._fault = UNDELIVERED_FAMILY + path.stem
        self._transcripts = transcripts
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._reader: LogReader | None = None
        """None until the position file is read."""
        self._lag: Lag | None = None
        self._piece: Piece | None = None
        """The next text."""
        self._noted: Piece | None = None
        """The text behind which the position is."""
        self._counting: asyncio.Task[Behind] | None = None
        """The count that is running, or was the last."""
        self._next_count: asyncio.Task[Behind] | None = None
        """The count that begins when that one is over."""
        self._news = asyncio.Event()
        self._interrupted = False
        transcripts.follow(self)

    def close(self) -> None:
        """Hold no files any more."""
        self._transcripts.unfollow(self)

    def wants(self, final: Final) -> bool:
        """Return whether a text is for the sink."""
        return final.profile not in self._passed_over

    async def open(self) -> None:
        """Note where the sink begins, if that is not known yet, so that every text from now on waits for it.

        Raises:
            SinkError: the position cannot be read or written.
        """
        await self._do(self._read_position, "used")

    async def next(self) -> Final | None:
        """Wait for the first text that the sink does not have; None after `interrupt`. Cancelling loses nothing.

        It is the same object until `passed` has returned, or `go_back` has.

        Raises:
            SinkError: it cannot be read.
        """
        while self._piece is None:
            self._news.clear()  # before the look: a line appended during it leads to another look
            try:
                self._piece = await self._transcripts.between_lines(self._find)
            except OSError as error:
                raise SinkError(f"the next text cannot be read ({error.strerror or error})") from error
            if self._interrupted:
                self._interrupted = False
                return None
            if self._piece is None:
                await self._news.wait()
        return self._piece.texts[0].final

    def interrupt(self) -> None:
        """Make `next` return None soon, once."""
        self._interrupted = True
        self._news.set()

    async def passed(self) -> None:
        """Note, durably, that the sink has the text of `next`.

        Raises:
            SinkError: the position cannot be written: call it again, also after it was cancelled.
        """
        assert self._piece is not None
        await self._do(partial(self._pass, self._piece), "written")
        self._piece = None  # only once the position is on the disk: a caller that is cancelled above calls again

    async def park(self, reason: str) -> None:
        """Put the text of `next` aside, durably. `passed` has to follow.

        Raises:
            SinkError: that cannot be written, or too many are parked.
        """
        assert self._piece is not None
        text = self._piece.texts[0]
        # Logged first: a connection that is lost meanwhile cancels this, and the text is parked at the next try.
        about = fields(MessageId.TEXT_PARKED, part=(text.id.id, text.id.part), fault=self._fault)
        log.warning("%s: a text is parked: %s", self._path.stem, reason, extra=about)
        await self._do(partial(self.parked.add, text.name, text.id, reason), "written")

    async def park_again(self, one: Parked, reason: str) -> None:
        """Note another reason for a text that is parked. Raises SinkError."""
        await self._do(partial(self.parked.add, one.name, one.text_id, reason), "written")

    async def unpark(self, one: Parked) -> None:
        """Forget a text that is parked, durably. Raises SinkError."""
        await self._do(partial(self.parked.remove, {one.text_id}), "written")

    async def lose(self, one: Parked) -> None:
        """Count a text that is parked as missed instead, durably: the transcripts have it no more. Raises SinkError."""
        about = fields(MessageId.TEXTS_EXPIRED, part=(one.id, one.part), fault=self._fault)
        log.warning("%s: a parked text is not in the transcripts any more", self._path.stem, extra=about)
        await self._do(partial(self.parked.lose, one.text_id), "written")

    async def forget(self) -> None:
        """Forget all that is parked, and what was missed. Raises SinkError."""
        await self._do(self.parked.clear, "written")

    async def read_parked(self, one: Parked) -> Final | None:
        """Return a text that is parked, or None if the transcripts do not have it any more. Raises SinkError."""
        return await self._do(partial(self._read_parked, one), "read")

    async def trace(self) -> bool:
        """Remember from now on where the position was before, so that it can go back.

        Returns:
            Whether the destination showed the position when it was last asked.

        Raises:
            SinkError: that cannot be written.
        """
        return await self._do(self._trace, "written")

    async def go_back(self, there: bytes | None) -> bool:
        """Go back, durably, to where the destination still was, and return whether there is such a place.

        No other call may be waiting, but for `behind`. A file that has expired is gone.

        Args:
            there: the position that the destination shows. It never leads on; if it is none of ours, the position goes
                back by a day.

        Raises:
            SinkError: that cannot be read or written.
        """
        return await self._do(partial(self._go_back, there), "written")

    async def note_shown(self, shown: bool) -> None:
        """Note, durably, whether the destination shows the position. Raises SinkError."""
        await self._do(partial(self._trail.note_shown, shown), "written")

    async def behind(self) -> Behind:
        """Return how far the sink is behind. Raises SinkError.

        All who ask while a count is running share the one after it: a crowd must not fill the queue of the thread that
        writes the texts.
        """
        if self._next_count is None:
            self._next_count = asyncio.create_task(self._count_after(self._counting), name="count")
            # All who asked may have left: nobody hears of its error then.
            self._next_count.add_done_callback(lambda count: count.cancelled() or count.exception())
        return await asyncio.shield(self._next_count)

    # For the transcripts.

    def appended(self) -> None:
        """Wake `next`: there is another line."""
        self._news.set()
        self._on_change()

    def holds(self, name: str) -> bool:
        """Return whether texts of a file wait for the sink, or are parked."""
        try:
            reader = self._read_position(begin=False)
            if any(one.name == name for one in self.parked.texts):
                return True
            with reader.file(name) as (lines, _):
                return any(map(self.wants, finals_in(lines)))
        except FileNotFoundError:
            return False
        except OSError:
            return True  # it may be readable before it is too old

    def expiring(self, name: str) -> None:
        """Count the texts of a file that the sink will not receive."""
        waiting: list[TextId] = []
        with contextlib.suppress(OSError):
            reader = self._read_position(begin=False)
            with reader.file(name) as (lines, _):
                waiting = [TextId(one.id, one.part) for one in filter(self.wants, finals_in(lines))]
            reader.forget(name)
        if missed := self.parked.expired(name, waiting):
            about = fields(MessageId.TEXTS_EXPIRED, fault=self._fault)
            log.warning("%s expires before %s has %d texts of it", name, self._path.stem, missed, extra=about)
            self._loop.call_soon_threadsafe(self._on_change)

    # On the thread of the transcripts.

    def _read_position(self, *, begin: bool = True) -> LogReader:
        """Raises OSError: FileNotFoundError if there is none, unless it may `begin` one."""
        if self._reader is None:
            self.parked.read()
            self._trail.read()
            return self._begin(LogReader(self._transcripts, self._load(begin)))
        return self._reader

    def _begin(self, reader: LogReader) -> LogReader:
        """Note where a reader begins."""
        self._reader = reader
        self._lag = Lag(self._transcripts, self._reader, self.wants)
        self.last = next((mark for _, mark in sorted(reader.marks.items(), reverse=True) if mark is not None), None)
        self._show_position()
        return reader

    def _show_position(self) -> None:
        """Encode the marks that may differ from those that the destination kept before."""
        assert self._reader is not None
        self.position = msgspec.json.encode({name: self._reader.marks.get(name) for name in self._trail.start()})

    def _trace(self) -> bool:
        self._trail.begin()
        return self._trail.shown

    def _go_back(self, there: bytes | None) -> bool:
        reader, theirs = self._read_position(), marks_in(there)
        marks = reader.marks
        back: Marks = {}
        try:
            names = self._transcripts.names()
        except FileNotFoundError:
            names = []
        for name, start in self._trail.start().items():
            if name not in names:
                continue
            # A file that the destination does not name has all its texts since.
            shown = start if theirs is None else theirs.get(name, start)
            try:
                mark = earlier(self._transcripts, name, start, marks.get(name), shown)
            except OSError as error:
                self._transcripts.pass_over(name, error)
                continue
            if mark != marks.get(name):
                back[name] = mark
        if not back or not self._trail.may_return():
            return False
        self._trail.shorten(back)
        self._file.write({**marks, **back})
        self._trail.returned(back, marks)
        reader.move(back)
        self._piece = self._noted = None
        self._begin(reader)
        return True

    def _find(self) -> Piece | None:
        """Return the first text behind the position, or None if there is none. Raises OSError."""
        reader = self._read_position()
        while not (piece := reader.read(most_texts=1)).texts:
            reader.commit(piece)
            if not piece.more:
                return None
        return piece

    def _pass(self, piece: Piece) -> None:
        """Move the position behind a text, on the disk first and then in memory. Raises OSError."""
        if piece is self._noted:  # `passed` was cancelled, and called again
            return
        assert self._reader is not None
        assert self._lag is not None
        (text,) = piece.texts
        if self.parked.arrived(text.id):
            self._loop.call_soon_threadsafe(self._on_change)
        self._trail.leave(text.name, self._reader.marks.get(text.name))
        self._file.write({**self._reader.marks, text.name: text.id})
        self._reader.commit(piece)
        self._lag.passed(text)
        self._trail.arrived(text.name, text.id)
        self._show_position()
        self._noted = piece
        self.last = text.id

    def _read_parked(self, one: Parked) -> Final | None:
        try:
            with opened(self._transcripts.directory / one.name) as handle, open(handle, "rb", closefd=False) as lines:
                return next((final for final in finals_in(lines) if TextId(final.id, final.part) == one.text_id), None)
        except FileNotFoundError:
            return None

    async def _count_after(self, before: asyncio.Task[Behind] | None) -> Behind:
        """Count once another count is over. Raises SinkError."""
        if before is not None:
            await asyncio.wait({before})
        # It begins now, so who asks from here on needs another one: a text may have been appended since.
        self._counting, self._next_count = self._next_count, None
        while (behind := await self._do(self._count, "read")) is None:
            pass
        return behind

    def _count(self) -> Behind | None:
        """Count on, for a moment. Return None if there is more to count."""
        self._read_position(begin=False)
        assert self._lag is not None
        if not self._lag.count():
            return None
        first = (self._piece or self._find()) if self._lag.waiting else None
        return Behind(self._lag.waiting, first.texts[0].final.started_at if first else None)

    def _load(self, begin: bool) -> Marks:
        """Read the position file; without a readable one, begin at the end of all files. Raises as above."""
        marks = self._file.read()
        if marks is None:
            if not begin:
                raise FileNotFoundError("no position yet")
            marks = self._ends()
            # Now: a restart before the first text would otherwise begin at a later end, and miss what is between.
            self._file.write(marks)
        return marks

    def _ends(self) -> Marks:
        """Return the last text of each file. Raises OSError."""
        marks: Marks = {}
        unreadable = []
        for name in self._transcripts.names():
            try:
                marks[name] = last_in(self._transcripts, name)
            except OSError as error:
                self._transcripts.pass_over(name, error)
                unreadable.append(name)
        newest = max(filter(None, marks.values()), key=lambda mark: (mark.id, mark.part), default=None)
        # Should one become readable, it is read behind what is the end now, and not from its beginning.
        return marks | dict.fromkeys(unreadable, newest)

    async def _do(self, job: Callable[[], Done], what: str) -> Done:
        """Run a job between two lines. Raises SinkError if the disk fails: the files of the sink cannot be `what`."""
        try:
            return await self._transcripts.between_lines(job)
        except OSError as error:
            message = f"{str(self._path)!r} cannot be {what} ({error.strerror or error})"
            raise SinkError(message, disk_hint(error)) from error
