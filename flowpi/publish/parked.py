"""The texts that a sink will not receive by itself: those that it refused for good, and how many expired unread.

They are kept in a file beside the position of the sink, as references: the text itself is in the transcripts. A text is
in this file before the position is moved behind it. A power cut between the two repeats the refusal, and the text is
parked once; the other order would lose it.
"""

import logging
from collections.abc import Collection
from pathlib import Path

import msgspec

from flowpi.core.errors import SinkError
from flowpi.core.text import printable
from flowpi.host.folders import make_folder, replace_file
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
        self._path = path
        self._content = _Content()

    @property
    def texts(self) -> tuple[Parked, ...]:
        """What is parked, in the order of the refusals."""
        return self._content.parked

    @property
    def missed(self) -> int:
        """How many texts expired before the sink had them, since this was last forgotten."""
        return self._content.missed

    def read(self) -> None:
        """Read the file, if there is one. Raises OSError."""
        try:
            self._content = _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("%s is damaged: what was parked is in the transcripts only (%s)", self._path, error)

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

    def expired(self, name: str, missed: int) -> int:
        """Forget what is parked of a file, and count it and `missed` others as missed. Return how many that were."""
        left = tuple(one for one in self.texts if one.name != name)
        missed += len(self.texts) - len(left)
        if missed:
            content = _Content(left, self.missed + missed)
            try:
                self._write(content)
            except OSError as error:  # the texts are gone all the same
                log.warning("%s cannot be written (%s)", self._path, error.strerror)
                self._content = content
        return missed

    def clear(self) -> None:
        """Forget all, also what was missed. Raises OSError."""
        self._write(_Content())

    def _write(self, content: _Content) -> None:
        if content == self._content:
            return
        make_folder(self._path.parent)
        replace_file(self._path, msgspec.json.encode(content) + b"\n", 0o600)
        self._content = content


_decoder = msgspec.json.Decoder(_Content)
