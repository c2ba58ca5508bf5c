"""The texts on their way to one sink: each is written once, in order, and the position follows behind it.

A text that the sink refuses for good is parked: it is put aside durably, and the next text follows. `retry` writes what
is parked again, `skip` parks the text at which a sink fails again and again.
"""

import asyncio
import contextlib
from collections.abc import Callable

from flowpi.core.errors import SinkError, SinkRefusedError
from flowpi.publish.cursor import Behind, Cursor
from flowpi.publish.messages import Final, TextId
from flowpi.publish.parked import ParkedTexts
from flowpi.publish.rewind import Rewind
from flowpi.publish.sinks import RewindableSink, Sink

SKIPPED = "skipped by a command"
"""The reason of a text that `skip` parked."""


class TextFeed:
    """Feeds one durable sink, through all its openings. Call `prepare` before each of them, and `run` after it.

    Attributes:
        writing: whether a text is being written, or its position.
        blocked: the text that the sink did not accept last: then only accepting it proves that the sink works again.
    """

    def __init__(
        self,
        name: str,
        cursor: Cursor,
        *,
        works: Callable[[], object],
        undelivered: Callable[[], object],
    ) -> None:
        """
        Args:
            name: the name of the sink.
            cursor: its position.
            works: called when the sink can be fed, unless a text is blocked; and when it has accepted one.
            undelivered: called when there may be others than before that the sink will not receive by itself.
        """
        self.writing = False
        self.blocked: TextId | None = None
        self._name = name
        self._cursor = cursor
        self._works = works
        self._undelivered = undelivered
        self._rewind = Rewind(name, cursor)
        self._skip: TextId | None = None
        """The blocked text that is to be parked."""
        self._again = False
        """Whether what is parked is to be written again."""
        self._taken: Final | None = None
        """What the sink has, though its position may not be on the disk yet. After the way back to an older position
        the cursor returns another object for the same text, which has to be written again."""
        self._closing = False

    @property
    def last(self) -> TextId | None:
        """The text that the sink received last, as far as that is known."""
        return self._cursor.last

    @property
    def parked(self) -> ParkedTexts:
        """The texts that the sink refused for good, and how many expired before the sink had them."""
        return self._cursor.parked

    async def behind(self) -> Behind:
        """Return how far the sink is behind."""
        with contextlib.suppress(SinkError):  # that disk has a fault of its own
            return await self._cursor.behind()
        return Behind(0, None)

    def retry(self) -> None:
        """Write what is parked again, soon."""
        self._again = True
        self._cursor.interrupt()

    def skip_blocked(self) -> bool:
        """Have the blocked text parked before the next opening. Return whether there is one."""
        self._skip = self.blocked
        return self._skip is not None

    async def forget(self) -> int:
        """Forget what is parked and what was missed. Return how many texts that is. Raises SinkError."""
        count = len(self.parked.texts) + self.parked.missed
        await self._cursor.forget()
        self._undelivered()
        return count

    def close(self) -> None:
        """Begin to stop: `run` ends after the text that is being written."""
        self._closing = True
        self._cursor.close()

    async def prepare(self) -> None:
        """Note where the sink begins, and park what is to be skipped. Raises SinkError."""
        await self._cursor.open()
        self._undelivered()
        await self._carry_out_skip()

    async def run(self, sink: Sink, patience_s: float) -> None:
        """Write each text to the sink once, in order, until the stop.

        Args:
            patience_s: the longest time that writing one may need.

        Raises:
            SinkError, TimeoutError: the sink failed. Whatever else the sink raises.
        """
        if isinstance(sink, RewindableSink):
            async with asyncio.timeout(patience_s):
                await self._rewind.open(sink)
        if self.blocked is None:  # behind the comparison: one that fails at it has to be waited for longer and longer
            self._works()
        while not self._closing:
            if self._again:
                await self._write_parked(sink, patience_s)
            final = await self._cursor.next()
            if final is None:
                continue
            self.writing = True
            self.blocked = TextId(final.id, final.part)
            try:
                # The sink first, then the position: a kill between the two repeats one text, the other order loses it.
                # If only the position failed, the text is not written a second time.
                # Only a position that went back comes to a text that is parked: it waits for `retry` as before.
                if self._taken is not final and not self.parked.holds(self.blocked):
                    await self._write(sink, final, patience_s)
                self._taken = final
                await self._cursor.passed()
            finally:
                self.writing = False
            if isinstance(sink, RewindableSink):
                self._rewind.note(sink)
            self.blocked = self._skip = None
            self._works()

    async def _write(self, sink: Sink, final: Final, patience_s: float) -> None:
        """Write a text to the sink if it is for it, or park it if the sink refuses it for good.

        Raises what the sink raises.
        """
        if not self._cursor.wants(final):
            return
        try:
            async with asyncio.timeout(patience_s):
                await sink.write(final)
        except SinkRefusedError as error:
            await self._park(str(error))

    async def _write_parked(self, sink: Sink, patience_s: float) -> None:
        """Write what is parked once more. What is refused again stays parked.

        Raises:
            SinkError, TimeoutError: the sink failed at one of them. It stays parked too, with the reason.
        """
        # Over whatever happens: a text at which the sink fails again and again must not hold the next ones back.
        self._again = False
        cursor = self._cursor
        try:
            for one in self.parked.texts:
                self.blocked = one.text_id
                try:
                    final = await cursor.read_parked(one)
                except SinkError as error:  # that is no failure of the sink
                    await cursor.park_again(one, str(error))
                    continue
                if final is None:
                    await cursor.lose(one)
                    continue
                try:
                    if cursor.wants(final):
                        async with asyncio.timeout(patience_s):
                            await sink.write(final)
                except SinkRefusedError as error:
                    await cursor.park_again(one, str(error))
                except (SinkError, TimeoutError) as error:
                    await cursor.park_again(one, str(error) or f"no answer within {patience_s:.0f} s")
                    raise
                else:
                    await cursor.unpark(one)
        finally:
            self.blocked = self._skip = None
            self._undelivered()
        self._works()

    async def _carry_out_skip(self) -> None:
        """Park the text at which the sink failed, if that was asked for."""
        if self._skip is None:
            return
        if (final := await self._cursor.next()) is not None and TextId(final.id, final.part) == self._skip:
            if self._taken is not final:
                await self._park(SKIPPED)
            await self._cursor.passed()
        self._skip = self.blocked = None

    async def _park(self, reason: str) -> None:
        """Park the next text. Raises SinkError."""
        await self._cursor.park(reason)
        self._undelivered()
