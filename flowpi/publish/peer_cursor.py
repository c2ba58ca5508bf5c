"""The daemon's copy of a position that another process keeps, such as `flowpi hook`: see `remote.py`.

The other process asks the daemon for the texts behind the last one that it is done with (`after` on the socket). So the
copy is where such a client begins, found by the same search: what the process would still be sent waits for it, and
nothing else does.
"""

from collections.abc import Sequence
from functools import partial

from flowpi.core.safe_text import printable
from flowpi.publish.cursor import Cursor
from flowpi.publish.lag import Lag
from flowpi.publish.lines import ids_in, opened
from flowpi.publish.log_reader import LogReader, Place
from flowpi.publish.log_search import LogSearch
from flowpi.publish.messages import GivenUp, TextId
from flowpi.publish.parked import Parked


class PeerCursor(Cursor):
    """A cursor that is moved by what the other process reports. `next` and `passed` are not for it."""

    async def adopt(self, text: TextId) -> bool:
        """Note, durably, that the process is done with a text, and waits for those that follow it.

        Returns:
            Whether there is such a text, or only later ones, because it has expired. If not, nothing is noted.

        Raises:
            SinkError: the transcripts cannot be read, or the position not written.
        """
        if await self._do(partial(self._pass_next, text), "written"):
            return True
        search = LogSearch(self._transcripts, text, set_back=True)
        while (found := await self._do(search.step, "read")) is None:
            pass
        known = {mark for mark in found.marks.values() if mark is not None}
        if known and text not in known:
            return False
        await self._do(partial(self._move, found, text), "written")
        return True

    async def set_parked(self, given_up: Sequence[GivenUp]) -> None:
        """Note, durably, which texts the process gave up, as far as there are such texts. Raises SinkError."""
        names = await self._do(self._names_of_parked, "read")
        unknown = {(one.id, one.part) for one in given_up} - set(names)
        if unknown:
            for name in await self._do(self._transcripts.names, "read"):
                found = await self._do(partial(self._ids_in, name), "read")
                names.update(dict.fromkeys(found & unknown, name))
        parked = tuple(
            Parked(names[one.id, one.part], one.id, one.part, printable(one.reason))
            for one in given_up
            if (one.id, one.part) in names
        )
        await self._do(partial(self.parked.replace, parked), "written")

    # On the thread of the transcripts.

    def _pass_next(self, text: TextId) -> bool:
        """Pass a text if it is the next one, and return whether that is the position now. Raises OSError."""
        self._read_position()
        if text == self.last:
            return True
        piece = self._find()
        if piece is None or piece.texts[0].id != text:
            return False
        self._pass(piece)
        return True

    def _move(self, found: LogReader, text: TextId) -> None:
        """Move the position to that of a reader behind a text, on the disk first. Raises OSError."""
        reader = self._read_position()
        here, there = self._places(reader), self._places(found)
        name = next((name for name in there if found.marks.get(name) == text), None)
        # A process that is behind this copy gets its texts again, because its own position is the true one. Otherwise
        # nothing moves back: after a text of an earlier day, the search begins anew in all later files.
        back = name is None or name not in here or there[name].offset < here[name].offset
        moved = {name for name in there if back or name not in here or there[name].offset > here[name].offset}
        marks = {**reader.marks, **{name: found.marks.get(name) for name in moved}}
        if marks != reader.marks:
            self._file.write(marks)
        self._reader = LogReader(self._transcripts, marks, {**here, **{name: there[name] for name in moved}})
        self._lag = Lag(self._transcripts, self._reader, self.wants)
        self.last = text if name is not None else None

    def _places(self, reader: LogReader) -> dict[str, Place]:
        """Return where a reader goes on in each file that can be read. Raises OSError."""
        places = {}
        for name in self._transcripts.names():
            try:
                with reader.file(name) as (_, place):
                    places[name] = place
            except OSError as error:
                self._transcripts.pass_over(name, error)
        return places

    def _names_of_parked(self) -> dict[tuple[str, int], str]:
        self._read_position()
        return {(one.id, one.part): one.name for one in self.parked.texts}

    def _ids_in(self, name: str) -> set[tuple[str, int]]:
        try:
            with opened(self._transcripts.directory / name) as handle, open(handle, "rb", closefd=False) as lines:
                return ids_in(lines.read())
        except FileNotFoundError:  # it has expired meanwhile
            return set()
        except OSError as error:
            self._transcripts.pass_over(name, error)
            return set()
