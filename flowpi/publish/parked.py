"""The texts that a sink will not receive by itself: those that it refused for good, and how many expired unread.

They are kept in a file beside the position of the sink, as references: the text itself is in the transcripts. A text is
in this file before the position is moved behind it. A power cut between the two repeats the refusal, and the text is
parked once; the other order would lose it.
"""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from flowpi.core.errors import SinkError
from flowpi.core.safe_text import printable
from flowpi.host.durable_file import DurableFile
from flowpi.publish.messages import TextId

log = logging.getLogger(__name__)

MOST = 1000
"""The most texts that are parked. A sink that refuses so many has another fault, and the next ones wait for it."""

REASON_LETTERS = 200


class Parked(msgspec.Struct, frozen=True):
    """A text that was refused: `name` is that of its day file."""

    name: str
    id: str
    part: int
    reason: str

    @property
    def text_id(self) -> TextId:
        return TextId(self.id, self.part)


class _Content(msgspec.Struct, frozen=True):
    parked: tuple[Parked, ...] = ()
    missed: int = 0


class ParkedTexts:
    """The file of one sink. Its methods run on the thread of the transcripts, the properties on any."""

    def __init__(self, path: Path) -> None:
        self._file = DurableFile(path, _Content, "what was parked is in the transcripts only")
        self._content = _Content()
        self._may_arrive: set[TextId] = set()
        """Of those that count as missed, the ones that may be in memory, on their way to the sink."""

    @property
    def texts(self) -> tuple[Parked, ...]:
        """What is parked, in the order of the refusals."""
        return self._content.parked

    def holds(self, text: TextId) -> bool:
        """Return whether a text is parked."""
        return any(one.text_id == text for one in self.texts)

    @property
    def missed(self) -> int:
        """How many texts expired before the sink had them, since this was last forgotten."""
        return self._content.missed

    def undelivered(self, sink: str) -> str:
        """Return the message of the fault for texts that a sink will not receive by itself, or "" if there are none."""
        what = [f"{len(self.texts)} refused by the sink {sink}"] if self.texts else []
        what += [f"{self.missed} expired before the sink {sink} had them"] if self.missed else []
        return f"texts were not delivered ({', '.join(what)}): see `flowpi sinks`" if what else ""

    def read(self) -> None:
        """Read the file, if there is one. Raises OSError."""
        self._content = self._file.read() or _Content()

    def add(self, name: str, text: TextId, reason: str) -> None:
        """Park a text, or note another reason for one that is parked.

        Raises:
            OSError: the file cannot be written.
            SinkError: too many are parked.
        """
        one = Parked(name, text.id, text.part, printable(reason)[:REASON_LETTERS])
        places = {parked.text_id: at for at, parked in enumerate(self.texts)}
        parked = list(self.texts)
        if text in places:
            parked[places[text]] = one
        elif len(parked) >= MOST:
            raise SinkError(f"it has refused {MOST} texts for good", "see `flowpi sinks`")
        else:
            parked.append(one)
        self._write(_Content(tuple(parked), self.missed))

    def remove(self, texts: Collection[TextId]) -> None:
        """Forget some that are parked. Raises OSError."""
        self._write(_Content(tuple(one for one in self.texts if one.text_id not in texts), self.missed))

    def lose(self, text: TextId) -> None:
        """Count a text that is parked as missed instead: it is gone. Raises OSError."""
        left = tuple(one for one in self.texts if one.text_id != text)
        self._write(_Content(left, self.missed + len(self.texts) - len(left)))

    def expired(self, name: str, waiting: Sequence[TextId]) -> int:
        """Forget what is parked of a file, and count it and the texts that wait as missed. Return how many that were.

        The first that waits may be on its way to the sink. It counts all the same, because it is in memory only: a
        process that ends has lost it.
        """
        left = tuple(one for one in self.texts if one.name != name)
        missed = len(waiting) + len(self.texts) - len(left)
        self._may_arrive.update(waiting[:1])
        if missed:
            content = _Content(left, self.missed + missed)
            try:
                self._write(content)
            except OSError as error:  # the texts are gone all the same
                log.warning("%s cannot be written (%s)", self._file.path, error.strerror)
                self._content = content
        return missed

    def arrived(self, text: TextId) -> bool:
        """Count a text as missed no more, if it was: the sink has it. Return whether it was. Raises OSError."""
        was_missed = text in self._may_arrive
        if was_missed:
            self._write(_Content(self.texts, max(0, self.missed - 1)))
        self._may_arrive.clear()
        return was_missed

    def replace(self, parked: tuple[Parked, ...]) -> None:
        """Park these texts, and no others. Raises OSError."""
        self._write(_Content(parked, self.missed))

    def clear(self) -> None:
        """Forget all, also what was missed. Raises OSError."""
        self._write(_Content())
        self._may_arrive.clear()

    def _write(self, content: _Content) -> None:
        if content == self._content:
            return
        self._file.write(content)
        self._content = content
